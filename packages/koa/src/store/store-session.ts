import { randomUUID } from "node:crypto";
import { type CommitOptions, type CommitResult, MsmError, type RegenerateOptions } from "@msm/core";
import { addSessionCookie } from "@msm/core/node";
import type { Context } from "koa";
import type { Session } from "koa-session";
import { type MaxAge, notAnObject, type OpenedSession, type ShownOptions } from "../opened-session.js";
import type { StoredData } from "../options.js";
import { createSessionObject, type SessionOwner, valuesOf } from "../session-object.js";
import type { GuardedStore } from "./guarded-store.js";
import type { ResolvedStore } from "./store-options.js";

/** A session as the store had it. */
interface FoundSession {
  readonly id: string;
  readonly data: StoredData;
}

/** How a request begins. */
interface SessionStart {
  /** When, see `EndedSessions.moment`. */
  readonly begunAt: number;
  readonly found: FoundSession | undefined;
}

const oneDayMs = 24 * 60 * 60 * 1000;

/** koa-session has stores keep a session a little longer than its client does. */
const storedLongerByMs = 10_000;

/** The session of one request that a koa-session store keeps. */
export class StoreSession implements OpenedSession, SessionOwner {
  readonly session = undefined;
  readonly options: ShownOptions;
  readonly isLocked = false;
  readonly #ctx: Context;
  readonly #store: GuardedStore;
  readonly #settings: ResolvedStore;
  readonly #begunAt: number;
  readonly #isFound: boolean;
  #isNew: boolean;
  #id: string;
  #createdAtMs: number;
  #current: Session | null;
  /** What the store has, as text; undefined where it has nothing. */
  #stored: string | undefined;
  /** That the session is stored though nothing changed. */
  #isForced = false;
  #isRenewed = false;
  #isRemoved = false;
  /** Ids that the session had before, which are still to end in the store. */
  readonly #formerIds: string[] = [];
  /** What the client is to be told: another id, or none any more. */
  #announcement: string | undefined;
  #announced: readonly string[] = [];
  #headIsOut = false;
  #commits: Promise<void> = Promise.resolve();

  constructor(
    ctx: Context,
    store: GuardedStore,
    settings: ResolvedStore,
    options: ShownOptions,
    { begunAt, found }: SessionStart,
  ) {
    this.#ctx = ctx;
    this.#store = store;
    this.#settings = settings;
    this.options = options;
    this.#begunAt = begunAt;
    this.#isFound = found !== undefined;
    this.#isNew = !this.#isFound;
    this.#id = found?.id ?? this.#newId();
    this.#current = createSessionObject(this);
    this.#createdAtMs = Date.now();
    if (found !== undefined) this.#takeIn(this.#current, found.data);
  }

  #takeIn(session: Session, data: StoredData): void {
    const { _maxAge, _session, _created, ...values } = data;
    if (_maxAge !== undefined) this.options.maxAge = _maxAge;
    if (_session !== undefined) this.options.maxAge = "session";
    if (typeof _created === "number") this.#createdAtMs = _created;
    for (const [name, value] of Object.entries(values))
      if (name !== "__proto__") Reflect.set(session, name, value);
    this.#stored = JSON.stringify(session);
  }

  #newId(): string {
    const { newId } = this.#settings.behaviour;
    return newId === undefined ? randomUUID() : newId(this.#ctx);
  }

  // --- ctx.session ------------------------------------------------------------------------------------------------

  get current(): Session | null {
    return this.#current;
  }

  replace(value: unknown): void {
    if (typeof value !== "object") throw notAnObject();
    this.#isNew = false;
    this.#current = value === null ? null : Object.assign(createSessionObject(this), value);
  }

  get isNew(): boolean {
    return this.#isNew;
  }

  get externalKey(): string {
    return this.#id;
  }

  get maxAge(): MaxAge {
    return this.options.maxAge;
  }

  set maxAge(maxAge: MaxAge) {
    this.options.maxAge = maxAge;
    this.#isForced = true;
  }

  save(): Promise<void> {
    this.#isForced = true;
    return this.commitNow();
  }

  commitNow(): Promise<void> {
    return this.#inTurn(() => this.#commit());
  }

  regenerate({ keep = "all" }: RegenerateOptions = {}): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#headIsOut) throw tooLate("regenerate() came");
      // What another request has ended meanwhile does not come back under another id.
      if (this.#current !== null) forget(this.#current, this.#hasEnded ? "none" : keep);
      if (this.#stored !== undefined) this.#formerIds.push(this.#id);
      this.#id = this.#newId();
      this.#isForced = true;
      await this.#commit();
    });
  }

  async destroy(): Promise<void> {
    this.#current = null;
    await this.commitNow();
  }

  async lock(): Promise<void> {
    throw new MsmError("MSM_ERR_OPTION", "a session in a `store` cannot be locked: that takes msm's `nodes`");
  }

  async release(): Promise<void> {}

  // --- the exchange -----------------------------------------------------------------------------------------------

  async settle(_options: CommitOptions): Promise<void> {
    if (!this.#settings.behaviour.autoCommit) return;
    await this.commitNow();
  }

  async commit(): Promise<CommitResult> {
    const before = this.#stored;
    await this.settle({});
    return { outcome: this.#stored === before ? "unneeded" : "stored" };
  }

  /** Koa drops all headers where a handler throws, and with them what was announced before. */
  cookie(): string | undefined {
    this.#headIsOut = true;
    if (this.#announcement === undefined) return undefined;
    if (this.#announced.length === 0) this.#announce(this.#announcement);
    const { res } = this.#ctx;
    const cookies = [res.getHeader("Set-Cookie") ?? []].flat().map(String);
    const ours = this.#announced;
    if (ours.length === 0) return undefined;
    const others = cookies.filter((cookie) => !ours.includes(cookie));
    if (others.length > 0) res.setHeader("Set-Cookie", others);
    else res.removeHeader("Set-Cookie");
    for (const cookie of ours.slice(0, -1)) addSessionCookie(res, cookie);
    return ours.at(-1);
  }

  async end(): Promise<void> {}

  /** One after the other: a handler need not await what it asked for. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#commits.then(work);
    this.#commits = done.catch(() => {}); // whoever asked for it hears of it
    return done;
  }

  async #commit(): Promise<void> {
    if (this.#current === null) await this.#remove();
    else await this.#saveWhereNeeded(this.#current);
    await this.#endFormer();
  }

  async #saveWhereNeeded(session: Session): Promise<void> {
    const reason = this.#reasonToSave(session);
    if (reason === undefined) return;
    const { beforeSave } = this.#settings.behaviour;
    beforeSave?.(this.#ctx, session);
    await this.#save(session, reason === "changed");
  }

  #reasonToSave(session: Session): "forced" | "changed" | "renewed" | undefined {
    if (this.#isForced) return "forced";
    const isEmpty = !session.populated;
    if (this.#stored === undefined && isEmpty) return undefined;
    if (this.#stored !== JSON.stringify(session)) return "changed";
    return !this.#isRenewed && this.#isRenewalDue(session) ? "renewed" : undefined;
  }

  #isRenewalDue(session: Session): boolean {
    const { rolling, renew } = this.#settings.behaviour;
    if (rolling) return true;
    const expiresAtMs: unknown = session._expire;
    const { maxAge } = this;
    if (!renew || typeof expiresAtMs !== "number" || typeof maxAge !== "number") return false;
    return expiresAtMs - Date.now() < maxAge / 2;
  }

  async #save(session: Session, changed: boolean): Promise<void> {
    if (this.#headIsOut && this.#isUnknownToClient) throw tooLate("a new session got its first value");
    if (this.#isRemoved) this.#id = this.#newId();
    // Another request has ended it meanwhile, as at a log-out: that stands.
    if (this.#hasEnded) return;
    const id = this.#id;
    const maxAge = this.maxAge || oneDayMs;
    const values = valuesOf(session);
    const text = JSON.stringify(values);
    const keptMs = typeof maxAge === "number" ? maxAge + storedLongerByMs : maxAge;
    const details = { changed, ctx: this.#ctx, rolling: this.#settings.behaviour.rolling };
    await this.#store.set(id, { ...values, ...this.#timesOf(maxAge) }, keptMs, details);
    this.#stored = text;
    this.#isForced = false;
    this.#isRenewed = true;
    this.#isRemoved = false;
    this.#tell(id);
  }

  /** What koa-session stores beside the values, and where asked for, when the session began. */
  #timesOf(maxAge: number | "session"): StoredData {
    const created = this.#settings.absoluteTimeoutMs === undefined ? {} : { _created: this.#createdAtMs };
    if (maxAge === "session") return { ...created, _session: true };
    return { ...created, _expire: maxAge + Date.now(), _maxAge: maxAge };
  }

  async #remove(): Promise<void> {
    if (this.#isRemoved) return;
    if (this.#isFound || this.#stored !== undefined) await this.#endInStore(this.#id);
    this.#isRemoved = true;
    this.#stored = undefined;
    this.#tell("");
  }

  get #hasEnded(): boolean {
    return this.#settings.ended.hasEnded(this.#id, this.#begunAt);
  }

  /** Where this fails, the request does, and it is tried again at its next commit: the old id must be worth nothing. */
  async #endFormer(): Promise<void> {
    for (const id of [...this.#formerIds]) {
      await this.#endInStore(id);
      this.#formerIds.shift();
    }
  }

  /** From the call on, requests of this process that have the session do not store it again. */
  async #endInStore(id: string): Promise<void> {
    const { ended } = this.#settings;
    ended.begin(id);
    try {
      await this.#store.destroy(id, { ctx: this.#ctx });
    } catch (error) {
      ended.forget(id);
      throw error;
    }
    ended.finish(id);
  }

  // --- the cookie -------------------------------------------------------------------------------------------------

  get #isUnknownToClient(): boolean {
    return !this.#isFound && this.#announcement === undefined;
  }

  /** At once where headers can be set, so that the middlewares around us see the cookie; else with the head. */
  #tell(id: string): void {
    this.#announcement = id;
    this.#announced = [];
    if (!this.#ctx.headerSent) this.#announce(id);
  }

  #announce(id: string): void {
    const ctx = this.#ctx;
    const { behaviour, key, cookie } = this.#settings;
    if (behaviour.externalKey !== undefined) {
      if (id !== "") behaviour.externalKey.set(ctx, id);
      return;
    }
    const maxAge = typeof this.maxAge === "number" && id !== "" ? { maxAge: this.maxAge } : {};
    ctx.cookies.set(key, id, { ...cookie, ...maxAge });
    const cookies = [ctx.res.getHeader("Set-Cookie") ?? []].flat().map(String);
    this.#announced = cookies.filter((each) => each.startsWith(`${key}=`) || each.startsWith(`${key}.sig=`));
  }
}

/** Empties a session, but for what is to be kept. */
function forget(session: Session, keep: RegenerateOptions["keep"]): void {
  if (keep === "all" || keep === true) return;
  const kept: readonly string[] = Array.isArray(keep) ? keep : [];
  for (const name of Object.keys(session)) if (!kept.includes(name)) Reflect.deleteProperty(session, name);
}

const tooLate = (what: string) =>
  new MsmError(
    "MSM_ERR_HEADERS_SENT",
    `${what} after the response's headers were sent, so the client cannot be told of its id`,
  );
