import { MsmError } from "@msm/core";
import type { UnheededCalls } from "@msm/core/node";
import { configure } from "safe-stable-stringify";
import { callbackOrPromise } from "../callback-or-promise.js";
import type { LibraryCookieOptions } from "../library.js";
import { type CookieSource, SessionCookie } from "../session-cookie.js";
import { isSecure, namesAndCallback, type SessionTarget } from "../sessions.js";
import type { StoredData } from "./store-calls.js";
import type { StoreSettings } from "./store-settings.js";

/** Where a session is at home: the request it belongs to. */
export interface SessionHome {
  readonly target: SessionTarget;
  readonly settings: StoreSettings;
  /** When the request began, see `EndedSessions.moment`. */
  readonly begunAt: number;
  /** Whether the request ended its session. */
  isDestroyed: boolean;
  /** Calls of the session's methods without a callback. */
  readonly calls: UnheededCalls;
}

/** How a session begins: anew, or as the store has it. */
interface SessionStart {
  readonly cookie: LibraryCookieOptions | CookieSource;
  readonly id?: string;
  readonly stored?: StoredData | undefined;
}

/** As @fastify/session compares: whatever the order of names, and though values have no JSON. */
const stringify = configure({ bigint: false });

/** Names that are the session's own in whatever a store gives. */
const reserved: ReadonlySet<string> = new Set(["cookie", "sessionId", "encryptedSessionId", "__proto__"]);

/** Where a session keeps when it began, if it is not to live longer than `absoluteTimeoutMs`. */
const birthAttribute = "createdAtMs";

/**
 * A session in a store, as @fastify/session has it (lib/session.js): attributes are properties of the object, and the object
 * itself is what the store is given.
 */
export class StoredSession {
  [attribute: string]: unknown;
  cookie: SessionCookie;
  readonly #home: SessionHome;
  readonly #id: string;
  #signedId: string | undefined;
  #cookieSource: CookieSource;
  /** The attributes as they were when the session was read, made or saved. */
  #known: string;
  /** The attributes as the store has them; undefined: it has none. */
  #stored: string | undefined;
  #isSaved = false;

  constructor(home: SessionHome, { cookie, id, stored }: SessionStart) {
    const source = { ...cookie, ...cookieDataOf(stored) };
    this.#home = home;
    this.#id = id ?? home.settings.newId(home.target);
    this.#cookieSource = withoutMemory(source);
    this.cookie = new SessionCookie(source, isSecure(home.target));
    for (const [name, value] of Object.entries(stored ?? {})) if (!reserved.has(name)) this[name] = value;
    const hasBirth =
      home.settings.absoluteTimeoutMs === undefined || typeof this[birthAttribute] === "number";
    if (!hasBirth && stored === undefined) this[birthAttribute] = Date.now();
    this.#known = this.#text();
    if (stored !== undefined) this.#stored = this.#known;
    if (!hasBirth && stored !== undefined) this[birthAttribute] = Date.now(); // and is to be saved
  }

  get sessionId(): string {
    return this.#id;
  }

  /** The id with its signature, as the cookie has it. */
  get encryptedSessionId(): string {
    this.#signedId ??= this.#home.settings.ids.sign(this.#id);
    return this.#signedId;
  }

  /** Who took it for an attribute would have no session any more, and lose what it holds. */
  set ["__proto__"](_value: unknown) {
    throw new MsmError(
      "MSM_ERR_ATTRIBUTE_NAME",
      'a session cannot have an attribute with the name "__proto__"',
    );
  }

  get(name: string): unknown {
    return this[name];
  }

  set(name: string, value: unknown): void {
    this[name] = value;
  }

  touch(): void {
    this.cookie.touch();
  }

  options(options: Partial<LibraryCookieOptions>): void {
    if (Object.keys(options).length === 0) return;
    this.#cookieSource = { ...this.#cookieSource, ...options };
    this.cookie = new SessionCookie(this.#cookieSource, isSecure(this.#home.target));
  }

  isModified(): boolean {
    return this.#known !== this.#text();
  }

  isSaved(): boolean {
    return this.#isSaved;
  }

  save(callback?: unknown): Promise<void> | undefined {
    return callbackOrPromise(this.#save(), callback);
  }

  reload(callback?: unknown): Promise<void> | undefined {
    return callbackOrPromise(this.#reload(), callback);
  }

  regenerate(first?: unknown, second?: unknown): Promise<void> | undefined {
    const { names, callback } = namesAndCallback(first, second);
    return this.#outcome(this.#regenerate(this.#kept(names)), callback);
  }

  destroy(callback?: unknown): Promise<void> | undefined {
    return this.#outcome(this.#destroy(), callback);
  }

  /** An answer waits for an end that its handler does not wait for. */
  #outcome(work: Promise<void>, callback: unknown): Promise<void> | undefined {
    return typeof callback === "function" ? callbackOrPromise(work, callback) : this.#home.calls.note(work);
  }

  // --- what the exchange asks. Functions of the class: a session's own names are the application's ------------------

  /** Whether the session was changed, and whether the store has something else, or nothing. */
  static changeOf(session: StoredSession): { readonly isModified: boolean; readonly isToBeStored: boolean } {
    const text = session.#text();
    return { isModified: session.#known !== text, isToBeStored: session.#stored !== text };
  }

  /** Whether a request of this process ended it meanwhile. */
  static hasEnded(session: StoredSession): boolean {
    const { settings, begunAt } = session.#home;
    return settings.ended.hasEnded(session.#id, begunAt);
  }

  static isExpired(session: StoredSession): boolean {
    const { calls, absoluteTimeoutMs } = session.#home.settings;
    const { originalExpires, originalMaxAge, expires } = session.cookie;
    const bornAtMs = session[birthAttribute];
    const isTooOld =
      absoluteTimeoutMs !== undefined &&
      typeof bornAtMs === "number" &&
      bornAtMs + absoluteTimeoutMs <= Date.now();
    if (isTooOld) return true;
    // What a store that can touch was given last says nothing of how long the session has been prolonged since.
    if (calls.canTouch && originalMaxAge !== null) return false;
    const end = originalExpires ?? expires;
    return end !== null && end !== undefined && end.getTime() <= Date.now();
  }

  /** Ends an expired session. @returns a new one */
  static async replaceExpired(session: StoredSession): Promise<StoredSession> {
    await session.#end();
    return new StoredSession(session.#home, { cookie: session.#cookieSource });
  }

  async #save(): Promise<void> {
    if (StoredSession.hasEnded(this)) return;
    await this.#store();
    this.#isSaved = true;
    this.#known = this.#stored ?? this.#known;
  }

  async #store(): Promise<void> {
    const { calls, renewals } = this.#home.settings;
    const text = this.#text();
    await calls.set(this.#id, this);
    this.#stored = text;
    renewals.note(this.#id);
  }

  async #reload(): Promise<void> {
    const { settings, target } = this.#home;
    const stored = await settings.calls.get(this.#id);
    // A session that has ended meanwhile goes on under an id that nobody knows.
    const isGone = stored === undefined && this.#stored !== undefined;
    const cookie = this.#cookieSource;
    target.session = new StoredSession(this.#home, isGone ? { cookie } : { cookie, id: this.#id, stored });
  }

  /** The new session is stored before the old one ends, and takes its place after that: trouble in between logs nobody out. */
  async #regenerate(names: readonly string[]): Promise<void> {
    const { target } = this.#home;
    const next = new StoredSession(this.#home, { cookie: this.#cookieSource });
    for (const name of names) if (Object.hasOwn(this, name)) next[name] = this[name];
    await next.#store();
    await this.#end();
    target.session = next;
  }

  #kept(names: unknown): readonly string[] {
    const keep: unknown = typeof names === "object" && names !== null && "keep" in names ? names.keep : names;
    if (Array.isArray(keep))
      return [...keep, ...(keep.length > 0 && birthAttribute in this ? [birthAttribute] : [])];
    return keep === true || keep === "all" ? Object.keys(this) : [];
  }

  async #destroy(): Promise<void> {
    const { target } = this.#home;
    try {
      await this.#end();
      this.#home.isDestroyed = true;
    } finally {
      target.session = null;
    }
  }

  async #end(): Promise<void> {
    const { calls, ended, renewals } = this.#home.settings;
    ended.begin(this.#id);
    try {
      await calls.destroy(this.#id);
    } catch (error) {
      ended.forget(this.#id);
      throw error;
    }
    ended.finish(this.#id);
    renewals.forget(this.#id);
  }

  #text(): string {
    return stringify({ ...this, cookie: undefined }) ?? "";
  }
}

/** What a store remembers of the cookie; one that keeps sessions as they are has the cookie itself. */
function cookieDataOf(stored: StoredData | undefined): CookieSource {
  const cookie = (stored?.cookie ?? {}) as CookieSource & { toJSON?: () => CookieSource };
  return typeof cookie.toJSON === "function" ? cookie.toJSON() : cookie;
}

/** What goes for a session that follows this one: not the end that this one had. */
function withoutMemory({ originalMaxAge, expires, ...source }: CookieSource): CookieSource {
  const isPast = expires ? !(new Date(expires).getTime() > Date.now()) : true;
  return {
    ...source,
    ...(originalMaxAge ? { maxAge: originalMaxAge } : {}),
    ...(expires && !(isPast && !originalMaxAge) ? { expires } : {}),
  };
}
