import {
  type CommitOptions,
  type CommitResult,
  longestTimeMs,
  MsmError,
  type RegenerateOptions,
  type Session,
  type SessionExchange,
  type SessionRequest,
} from "@msm/core";
import {
  andThen,
  cookieAgeOf,
  cookieAttribute,
  isStoredCookie,
  setCookieAge,
  withMaxAge,
} from "@msm/core/node";
import type { Context } from "koa";
import type { Session as KoaSession } from "koa-session";
import type { Behaviour } from "../behaviour.js";
import { type MaxAge, notAnObject, type OpenedSession, type ShownOptions } from "../opened-session.js";
import { memberRules, ownerKey, type SessionOwner, sessionMembers } from "../session-object.js";

const unneeded: CommitResult = { outcome: "unneeded" };
const renewing = { renew: true };

/** What the sessions of all requests have in common. */
export interface SessionHome {
  readonly behaviour: Behaviour;
  /** What `ctx.sessionOptions` shows, beside `maxAge`. */
  readonly shown: Readonly<Record<string, unknown>>;
  /** The id that a request names, though its session may be gone. */
  namedBy(request: SessionRequest): string | undefined;
  /** Has a client forget what the library used before left with it. */
  forgetFormer(ctx: Context, request: SessionRequest): void;
}

/** The session of one request that msm keeps, and its exchange as koa-session's rules want it. */
export class NodesSession implements OpenedSession, SessionOwner {
  readonly session: Session;
  readonly #ctx: Context;
  readonly #request: SessionRequest;
  readonly #exchange: SessionExchange;
  readonly #home: SessionHome;
  readonly #behaviour: Behaviour;
  #options: ShownOptions | undefined;
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
    request: SessionRequest,
    exchange: SessionExchange,
    session: Session,
    home: SessionHome,
  ) {
    this.#ctx = ctx;
    this.#request = request;
    this.#exchange = exchange;
    this.session = session;
    this.#home = home;
    this.#behaviour = home.behaviour;
  }

  get options(): ShownOptions {
    this.#options ??= Object.defineProperty({ ...this.#home.shown } as ShownOptions, "maxAge", {
      get: () => this.maxAge,
      set: (value: MaxAge) => {
        this.maxAge = value;
      },
      enumerable: true,
    });
    return this.#options;
  }

  // --- ctx.session ------------------------------------------------------------------------------------------------

  get current(): KoaSession | null {
    return this.#isUnset ? null : this.#values;
  }

  get #values(): KoaSession {
    if (this.#view === undefined) {
      this.#view = this.session.attributesWith(new Members(this), memberRules) as unknown as KoaSession;
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

  commit(options?: CommitOptions): CommitResult | Promise<CommitResult> {
    return this.#behaviour.autoCommit ? this.#commit(options) : this.#drop(options);
  }

  settle(options?: CommitOptions): void | Promise<void> {
    return andThen(this.commit(options), throwError);
  }

  cookie(): string | undefined {
    const header = this.#exchange.cookie(this.#isRenewed ? renewing : undefined);
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

  #commit(options?: CommitOptions): CommitResult | Promise<CommitResult> {
    if (this.#isUnset) return this.#isKnownToNobody ? this.#drop(options) : this.#commitEnd(options);
    this.#prepareToSave();
    return this.#commitExchange(options);
  }

  async #commitEnd(options?: CommitOptions): Promise<CommitResult> {
    await this.#destroyOnce();
    return this.#commitExchange(options);
  }

  #commitExchange(options?: CommitOptions): CommitResult | Promise<CommitResult> {
    const committing = this.#exchange.commit(options);
    return committing instanceof Promise ? this.#notedLater(committing) : this.#noted(committing);
  }

  async #notedLater(committing: Promise<CommitResult>): Promise<CommitResult> {
    return this.#noted(await committing);
  }

  #noted(result: CommitResult): CommitResult {
    if (result.outcome !== "failed") this.#isForced = false;
    if (result.outcome === "stored" || result.outcome === "kept") {
      this.#isStored = true;
      this.#renewLastingCookie();
    }
    return result;
  }

  /** Then there is nothing to end on any node, and nobody to tell of it. */
  get #isKnownToNobody(): boolean {
    const isMade = this.#isStored || this.#isDestroyed;
    return this.session.isNew && !isMade && this.#home.namedBy(this.#request) === undefined;
  }

  async #drop(options?: CommitOptions): Promise<CommitResult> {
    if (options?.keepLease !== true) await this.session.release();
    return unneeded;
  }

  async #destroyOnce(): Promise<void> {
    if (this.#isDestroyed) return;
    await this.session.destroy();
    this.#isDestroyed = true;
    this.#home.forgetFormer(this.#ctx, this.#request);
  }

  /** As in koa-session, a cookie that lasts is sent again with each change. */
  #renewLastingCookie(): void {
    const ageMs = cookieAgeOf(this.session);
    if (typeof ageMs === "number") this.session.cookieMaxAgeMs = Math.min(ageMs, longestTimeMs);
  }

  // --- rolling, renew and beforeSave ------------------------------------------------------------------------------

  #prepareToSave(): void {
    const isDue = !this.#isRenewed && this.#isRenewalDue();
    if (isDue) this.#isRenewed = true;
    const { beforeSave } = this.#behaviour;
    if (beforeSave === undefined) return;
    if (isDue || this.#isForced || this.session.isModified) beforeSave(this.#ctx, this.#values);
  }

  get #isEmptyAndNew(): boolean {
    return this.session.isNew && this.session.isEmpty;
  }

  #isRenewalDue(): boolean {
    const { rolling, renew } = this.#behaviour;
    if ((!rolling && !renew) || this.#isEmptyAndNew) return false;
    if (rolling) return true;
    const { maxAge } = this;
    return typeof maxAge === "number" && this.#renewWithin(maxAge);
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

function throwError({ error }: CommitResult): void {
  if (error !== undefined) throw error;
}

/** koa-session's members. None is an object's own: V8 makes an object of that kind in no time. */
class Members {
  readonly #owner: SessionOwner;

  constructor(owner: SessionOwner) {
    this.#owner = owner;
  }

  get [ownerKey](): SessionOwner {
    return this.#owner;
  }
}
Object.setPrototypeOf(Members.prototype, sessionMembers);
Reflect.deleteProperty(Members.prototype, "constructor");
// What the core keeps of the cookie is shown as `maxAge`, and lost by nobody who writes over it.
Object.defineProperty(Members.prototype, cookieAttribute, {
  get: () => undefined,
  set() {
    throw new MsmError(
      "MSM_ERR_ATTRIBUTE_NAME",
      "ctx.session.cookie is taken: the age of the session's cookie is kept under this name, for all frameworks",
    );
  },
  configurable: true,
});
