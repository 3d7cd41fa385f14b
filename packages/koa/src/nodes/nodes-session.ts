import {
  type CommitOptions,
  type CommitResult,
  longestTimeMs,
  MsmError,
  type RegenerateOptions,
  type Session,
  type SessionExchange,
} from "@msm/core";
import { cookieAgeOf, cookieAttribute, isStoredCookie, setCookieAge, withMaxAge } from "@msm/core/node";
import type { Context } from "koa";
import type { Session as KoaSession } from "koa-session";
import type { Behaviour } from "../behaviour.js";
import { type MaxAge, notAnObject, type OpenedSession, type ShownOptions } from "../opened-session.js";
import { createSessionObject, isPrivate, ownMembers, type SessionOwner } from "../session-object.js";

const unneeded: CommitResult = { outcome: "unneeded" };

/** What a session needs to know of its client. */
export interface SessionClient {
  /** Whether it named a session, though that may be gone. */
  hasSession(): boolean;
  /** Has it forget what the library used before left with it. */
  forgetFormer(): void;
}

/** The session of one request that msm keeps, and its exchange as koa-session's rules want it. */
export class NodesSession implements OpenedSession, SessionOwner {
  readonly session: Session;
  readonly options: ShownOptions;
  readonly #ctx: Context;
  readonly #exchange: SessionExchange;
  readonly #behaviour: Behaviour;
  readonly #client: SessionClient;
  #view: KoaSession | undefined;
  #isReplaced = false;
  #isUnset = false;
  #isDestroyed = false;
  #isStored = false;
  /** That the session is stored though nothing changed. */
  #isForced = false;
  #isRenewed = false;

  constructor(
    ctx: Context,
    exchange: SessionExchange,
    session: Session,
    behaviour: Behaviour,
    shown: Readonly<Record<string, unknown>>,
    client: SessionClient,
  ) {
    this.#ctx = ctx;
    this.#exchange = exchange;
    this.session = session;
    this.#behaviour = behaviour;
    this.#client = client;
    this.options = Object.defineProperty({ ...shown } as ShownOptions, "maxAge", {
      get: () => this.maxAge,
      set: (value: MaxAge) => {
        this.maxAge = value;
      },
      enumerable: true,
    });
  }

  // --- ctx.session ------------------------------------------------------------------------------------------------

  get current(): KoaSession | null {
    return this.#isUnset ? null : this.#values;
  }

  get #values(): KoaSession {
    if (this.#view === undefined) {
      const members = withPrivateNames(withoutCookie(createSessionObject(this)));
      this.#view = this.session.attributesWith(members, ownMembers);
    }
    return this.#view;
  }

  replace(value: unknown): void {
    if (typeof value !== "object") throw notAnObject();
    if (value === null) {
      this.#isUnset = true;
      return;
    }
    if (this.#isDestroyed) {
      throw new MsmError(
        "MSM_ERR_SESSION_DESTROYED",
        "ctx.session was ended by destroy(). The next request begins another one; this one can with regenerate() instead of destroy()",
      );
    }
    const values = { ...value };
    const session = this.#values;
    for (const name of Object.keys(session)) delete session[name];
    Object.assign(session, values);
    this.#isUnset = false;
    this.#isReplaced = true;
  }

  // --- the exchange -----------------------------------------------------------------------------------------------

  async commit(options?: CommitOptions): Promise<CommitResult> {
    if (this.#behaviour.autoCommit) return this.#commit(options);
    return this.#drop(options);
  }

  async settle(options: CommitOptions): Promise<void> {
    const { error } = await this.commit(options);
    if (error !== undefined) throw error;
  }

  cookie(): string | undefined {
    const header = this.#exchange.cookie({ renew: this.#isRenewed });
    const { externalKey } = this.#behaviour;
    if (externalKey !== undefined) {
      if (header !== undefined && !this.#isDestroyed) externalKey.set(this.#ctx, this.session.id);
      return undefined;
    }
    if (header === undefined || this.#isDestroyed) return header;
    const ageMs = cookieAgeOf(this.session);
    return ageMs === undefined ? header : withMaxAge(header, ageMs);
  }

  end(): Promise<void> {
    return this.#exchange.end();
  }

  async #commit(options?: CommitOptions): Promise<CommitResult> {
    if (this.#isUnset && this.#isKnownToNobody) return this.#drop(options);
    if (this.#isUnset) await this.#destroyOnce();
    else this.#prepareToSave();
    const result = await this.#exchange.commit(options);
    if (result.outcome !== "failed") this.#isForced = false;
    if (result.outcome === "stored" || result.outcome === "kept") {
      this.#isStored = true;
      this.#renewLastingCookie();
    }
    return result;
  }

  /** Then there is nothing to end on any node, and nobody to tell of it. */
  get #isKnownToNobody(): boolean {
    return this.session.isNew && !this.#isStored && !this.#isDestroyed && !this.#client.hasSession();
  }

  async #drop(options?: CommitOptions): Promise<CommitResult> {
    if (options?.keepLease !== true) await this.session.release();
    return unneeded;
  }

  async #destroyOnce(): Promise<void> {
    if (this.#isDestroyed) return;
    await this.session.destroy();
    this.#isDestroyed = true;
    this.#client.forgetFormer();
  }

  /** As in koa-session, a cookie that lasts is sent again with each change. */
  #renewLastingCookie(): void {
    const ageMs = cookieAgeOf(this.session);
    if (typeof ageMs === "number") this.session.cookieMaxAgeMs = Math.min(ageMs, longestTimeMs);
  }

  // --- rolling, renew and beforeSave ------------------------------------------------------------------------------

  #prepareToSave(): void {
    const isDue = !this.#isRenewed && !this.#isEmptyAndNew && this.#isRenewalDue();
    if (isDue) this.#isRenewed = true;
    const { beforeSave } = this.#behaviour;
    if (beforeSave === undefined) return;
    if (isDue || this.#isForced || this.session.isModified) beforeSave(this.#ctx, this.#values);
  }

  get #isEmptyAndNew(): boolean {
    // Their names alone: to look at values would decode them.
    const names = Reflect.ownKeys(this.session.attributes);
    return this.session.isNew && !names.some((name) => typeof name === "string");
  }

  #isRenewalDue(): boolean {
    const { rolling, renew } = this.#behaviour;
    if (rolling) return true;
    const { maxAge } = this;
    return renew && typeof maxAge === "number" && this.#renewWithin(maxAge);
  }

  /** As in koa-session, a cookie is sent again once less than half of its age is left: the session keeps when that is. */
  #renewWithin(ageMs: number): boolean {
    const stored: unknown = this.session.attributes[cookieAttribute];
    const expires = isStoredCookie(stored) && "expires" in stored ? Date.parse(String(stored.expires)) : 0;
    const now = Date.now();
    if (expires - now >= ageMs / 2) return false;
    this.session.attributes[cookieAttribute] = {
      originalMaxAge: ageMs,
      expires: new Date(now + ageMs).toISOString(),
    };
    return true;
  }

  // --- what the members of ctx.session do -------------------------------------------------------------------------

  get isNew(): boolean {
    return this.session.isNew && !this.#isReplaced;
  }

  get externalKey(): string {
    return this.session.id;
  }

  get maxAge(): MaxAge {
    const ageMs = cookieAgeOf(this.session);
    return ageMs === undefined ? this.#behaviour.maxAge : (ageMs ?? "session");
  }

  set maxAge(maxAge: MaxAge) {
    this.#isForced = true;
    if (maxAge === "session") setCookieAge(this.session, null);
    else if (maxAge) setCookieAge(this.session, milliseconds(maxAge));
    else delete this.session.attributes[cookieAttribute];
  }

  get isLocked(): boolean {
    return this.session.isLocked;
  }

  async save(): Promise<void> {
    this.#isForced = true;
    // What is empty is not stored, but for the age of its cookie.
    if (this.#isEmptyAndNew) this.maxAge = this.maxAge ?? "session";
    this.session.touch();
    await this.commitNow();
  }

  async commitNow(): Promise<void> {
    const { error } = await this.#commit({ keepLease: true });
    if (error !== undefined) throw error;
  }

  /** The new session is stored at the next commit, or at once where there will be none, and then the old one ends. */
  async regenerate({ keep = "all", ...others }: RegenerateOptions = {}): Promise<void> {
    await this.session.regenerate({ keep, ...others });
    this.#isForced = true;
    this.#isUnset = false;
    this.#isDestroyed = false;
    if (!this.#behaviour.autoCommit) await this.commitNow();
  }

  async destroy(): Promise<void> {
    this.#isUnset = true;
    await this.#destroyOnce();
  }

  lock(): Promise<void> {
    return this.session.lock();
  }

  release(): Promise<void> {
    return this.session.release();
  }
}

function milliseconds(maxAge: unknown): number {
  if (typeof maxAge === "number" && maxAge > 0) return maxAge;
  const got = typeof maxAge === "number" ? String(maxAge) : (JSON.stringify(maxAge) ?? typeof maxAge);
  throw new MsmError(
    "MSM_ERR_OPTION",
    `ctx.session.maxAge must be a number of milliseconds above 0, or "session", got ${got}`,
  );
}

/** Names that begin with `_` are this request's: koa-session does not store them, and other requests do not see them. */
function withPrivateNames(members: KoaSession): KoaSession {
  return new Proxy(members, {
    has: (target, name) => Reflect.has(target, name) || (typeof name === "string" && isPrivate(name)),
  });
}

/** What the core keeps of the cookie is shown as `maxAge`, and lost by nobody who writes over it. */
function withoutCookie(members: KoaSession): KoaSession {
  return Object.defineProperty(members, cookieAttribute, {
    get: () => undefined,
    set() {
      throw new MsmError(
        "MSM_ERR_ATTRIBUTE_NAME",
        "ctx.session.cookie is taken: the age of the session's cookie is kept under this name, for all frameworks",
      );
    },
    configurable: true,
  });
}
