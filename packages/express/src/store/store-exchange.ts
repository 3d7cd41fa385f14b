import type { CipherKey } from "node:crypto";
import {
  type CommitResult,
  MsmError,
  type MsmErrorCode,
  type RegenerateOptions,
  type SessionExchange,
} from "@msm/core";
import { UnheededCalls } from "@msm/core/node";
import type { Request } from "express";
import expressSession, { type Cookie, type Session, type SessionData } from "express-session";
import { signedValue } from "../signed-cookie.js";
import { jsonOf, SessionMemory } from "./session-memory.js";
import { accompany, kept, type SessionCompany, type Told } from "./session-methods.js";
import { askStore } from "./store-calls.js";
import type { StoreSettings } from "./store-options.js";

const unneeded: CommitResult = { outcome: "unneeded" };
const stored: CommitResult = { outcome: "stored" };

/**
 * One request with a session in an express-session store: what is saved, touched, destroyed and announced at its end, by
 * express-session's rules. Where a comment gives a name, it is that of the function in its index.js.
 */
export class StoreExchange implements SessionExchange, SessionCompany {
  /** There is no session of the core's. */
  readonly session = undefined;
  readonly timeoutMs: number;
  /** What went wrong, as the store said it. */
  failure: unknown;

  readonly #req: Request;
  readonly #settings: StoreSettings;
  readonly #secrets: readonly CipherKey[];
  /** The id that the client's cookie had. */
  readonly #cookieId: string | undefined;
  readonly #memory = new SessionMemory();
  /** Calls without a callback. */
  readonly #calls = new UnheededCalls();
  /** Sessions that this request ended, with the cookies that they had. */
  readonly #endedHere = new Map<string, Cookie | undefined>();
  #current: Session | undefined;
  #begunAt: number;
  /** A session is used once, though a stream is committed twice. */
  #isTouched = false;
  /** Nor does the store need to hear of it twice. */
  #isTouchedInStore = false;
  /** What `jsonOf` gives, while the commit calls `save()`. */
  #jsonNow: string | undefined;
  #cookie: string | undefined;
  #commits: Promise<CommitResult> = Promise.resolve(unneeded);

  /** @param secrets the first signs */
  constructor(
    req: Request,
    settings: StoreSettings,
    secrets: readonly CipherKey[],
    cookieId: string | undefined,
  ) {
    this.#req = req;
    this.#settings = settings;
    this.#secrets = secrets;
    this.#cookieId = cookieId;
    this.timeoutMs = settings.storeTimeoutMs;
    this.#begunAt = settings.ended.moment();
  }

  /** The request begins with what stands in `req.session`. @param isFound whether the store had it */
  begin(isFound: boolean): void {
    const { session } = this.#req;
    this.#memory.begin(session, isFound && !this.#settings.compat.resave);
    this.#adopt(session);
  }

  /** The store has made another session for this request. */
  noteGenerated(): void {
    const { session, sessionID } = this.#req;
    this.#settings.ended.forget(sessionID);
    this.#begunAt = this.#settings.ended.moment();
    this.#adopt(session);
  }

  #adopt(session: Session): void {
    if (session === this.#current) return;
    this.#current = session;
    accompany(session, this);
  }

  // --- the methods of req.session ---------------------------------------------------------------------------------

  saving(session: Session): Told {
    if (this.#hasEnded(session.id)) return undefined;
    const takeBack = this.#memory.noteSaved(session, this.#jsonNow ?? jsonOf(session));
    return (error) => {
      if (error) takeBack();
    };
  }

  reloading(): Told {
    return (error) => {
      if (error) return;
      this.#adopt(this.#req.session);
      this.#memory.noteReloaded(this.#req.session);
    };
  }

  destroying({ id, cookie }: Session): Told {
    return this.#ending(id, cookie);
  }

  regenerating(session: Session, options: RegenerateOptions): Told {
    const attributes = kept(session, options);
    const told = this.#ending(this.#req.sessionID, session.cookie);
    return (error) => {
      told(error);
      const { session: next } = this.#req;
      if (next !== session) Object.assign(next, attributes);
    };
  }

  readonly note = (call: Promise<void>): Promise<void> => this.#calls.note(call);

  /** Another request has ended the session since this one began with it. */
  #hasEnded(id: string): boolean {
    return this.#settings.ended.hasEnded(id, this.#begunAt);
  }

  #ending(id: string, cookie: Cookie | undefined): (error?: unknown) => void {
    const { ended } = this.#settings;
    ended.begin(id);
    return (error) => {
      if (error) return ended.forget(id);
      ended.finish(id);
      this.#endedHere.set(id, cookie);
    };
  }

  // --- the end of the request -------------------------------------------------------------------------------------

  commit(): Promise<CommitResult> {
    this.#commits = this.#commits.then(() => this.#commitOnce());
    return this.#commits;
  }

  cookie(): string | undefined {
    return this.#cookie;
  }

  async end(): Promise<void> {}

  async #commitOnce(): Promise<CommitResult> {
    this.#cookie = undefined;
    try {
      // What its handler did not wait for, the answer does, and fails with it: nobody else may notice.
      await this.#calls.settle();
      if (this.#isToBeDestroyed) await this.#destroyUnset();
    } catch (error) {
      return this.#failed(error, "MSM_ERR_STORAGE_UNAVAILABLE");
    }
    const { session } = this.#req;
    if (!session) return this.#commitNothing();
    return this.#commitSession(session);
  }

  /** shouldDestroy */
  get #isToBeDestroyed(): boolean {
    const { session, sessionID } = this.#req;
    return (
      this.#settings.compat.unset === "destroy" && !session && !!sessionID && !this.#endedHere.has(sessionID)
    );
  }

  async #destroyUnset(): Promise<void> {
    const { sessionID } = this.#req;
    const end = this.#ending(sessionID, this.#current?.cookie);
    const destroying = this.#askStore("destroy", (callback) =>
      this.#settings.store.destroy(sessionID, callback),
    );
    destroying.then(() => end(), end);
    await destroying;
  }

  /** The browser is to forget a session that this request ended, which express-session leaves to it. */
  #commitNothing(): CommitResult {
    if (this.#cookieId !== undefined && this.#endedHere.has(this.#cookieId)) {
      const former = dataOf(this.#endedHere.get(this.#cookieId));
      const gone = { ...former, maxAge: 0, expires: new Date(0) };
      if (this.#isSendable(former)) this.#cookie = serialize(this.#settings.name, "", gone);
    }
    return unneeded;
  }

  async #commitSession(session: Session): Promise<CommitResult> {
    const { store, canTouch } = this.#settings;
    const { sessionID } = this.#req;
    let json: string;
    try {
      this.#touchOnce(session);
      if (typeof sessionID !== "string") return unneeded;
      if (this.#hasEnded(sessionID)) return { outcome: "discarded" };
      json = jsonOf(session);
      this.#cookie = this.#announcement(session, json);
    } catch (error) {
      return this.#failed(error, "MSM_ERR_CODEC");
    }

    try {
      if (this.#isToBeSaved(session, json)) {
        await this.#saveNow(session, json);
        this.#isTouchedInStore = true;
        return stored;
      }
      if (!canTouch || this.#cookieId !== sessionID || this.#isTouchedInStore) return unneeded;
      this.#isTouchedInStore = true;
      await this.#askStore("touch", (callback) =>
        store.touch?.(sessionID, session as Session & SessionData, callback),
      );
      return stored;
    } catch (error) {
      return this.#failed(error, "MSM_ERR_STORAGE_UNAVAILABLE");
    }
  }

  #touchOnce(session: Session): void {
    if (!this.#isTouched) session.touch();
    this.#isTouched = true;
  }

  /** shouldSetCookie */
  #announcement(session: Session, json: string): string | undefined {
    const { rolling, saveUninitialized } = this.#settings.compat;
    const { sessionID } = this.#req;
    const { cookie } = session;
    const isModified = this.#memory.isModified(session, json);
    const isDue =
      this.#cookieId === sessionID
        ? rolling || (cookie.expires != null && isModified)
        : saveUninitialized || isModified;
    if (!isDue || !this.#isSendable(cookie)) return undefined;
    return serialize(this.#settings.name, signedValue(sessionID, this.#secrets[0]!), dataOf(cookie));
  }

  #isSendable({ secure }: Pick<Cookie, "secure">): boolean {
    return !secure || this.#settings.compat.isSecure(this.#req);
  }

  /** shouldSave */
  #isToBeSaved(session: Session, json: string): boolean {
    const isNew = !this.#memory.wasSaved && this.#cookieId !== this.#req.sessionID;
    return isNew && !this.#settings.compat.saveUninitialized
      ? this.#memory.isModified(session, json)
      : !this.#memory.isSaved(session, json);
  }

  /** By the session's own method, which the application may have replaced. */
  async #saveNow(session: Session, json: string): Promise<void> {
    const saving = this.#askStore("save", (callback) => {
      this.#jsonNow = json;
      try {
        session.save(callback);
      } finally {
        this.#jsonNow = undefined;
      }
    });
    await saving;
  }

  #askStore<T>(verb: string, run: (callback: (error?: unknown, value?: T) => void) => unknown) {
    return askStore<T>(verb, this.timeoutMs, run);
  }

  /** The error says what it is to the core; the application gets the store's own. */
  #failed(error: unknown, code: MsmErrorCode): CommitResult {
    this.failure = error;
    this.#cookie = undefined;
    return { outcome: "failed", error: MsmError.from(error, code) };
  }
}

/** What express-session serializes a cookie with; its types leave it out. */
type CookieData = Pick<Cookie, "secure" | "expires"> & { readonly maxAge?: number };

const dataOf = (cookie: Cookie | undefined): CookieData =>
  (cookie as { data?: CookieData } | undefined)?.data ?? {};

/** By express-session's own library, so that a cookie is to the letter as there. */
function serialize(name: string, value: string, data: CookieData): string {
  const prototype = expressSession.Cookie.prototype as unknown as {
    serialize(this: { data: CookieData }, name: string, value: string): string;
  };
  return prototype.serialize.call({ data }, name, value);
}
