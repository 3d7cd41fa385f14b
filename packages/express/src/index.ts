// Re-exported and not merely imported: the build drops an import of nothing, and `req.session` would lose its type.
export type { SessionData } from "express-session";

import type { RegenerateOptions } from "@msm/core";
import expressSession from "express-session";
import { session } from "./session.js";

export type { CompatOptions } from "./compat-options.js";
export type { CookieOptions } from "./cookie-options.js";
export type { AnyHandler, SessionMiddleware, SessionOptions, WithSession } from "./middleware.js";
export type { CookieFormat, NodesExtras, NodesOptions, ReadyManager } from "./nodes-options.js";
export type { PreviousOptions } from "./previous-store.js";
export { serverOptions } from "./server-options.js";
export type { StoreOptions, StoreSessionOptions } from "./store/store-options.js";
export { toStore } from "./store/to-store.js";

// express-session's own classes, so that `instanceof` holds across both.

/** What express-session's stores extend, as a class or by `Store.call(this)`. */
export const Store = expressSession.Store;
export type Store = expressSession.Store;
/** What `req.session` is an instance of. */
export const Session = expressSession.Session;
export type Session = expressSession.Session;
/** What `req.session.cookie` is an instance of. */
export const Cookie = expressSession.Cookie;
export type Cookie = expressSession.Cookie;
/** express-session's store in this process' memory, for tests. */
export const MemoryStore = expressSession.MemoryStore;
export type MemoryStore = expressSession.MemoryStore;

export { session };
export default session;

// express-session's methods take a callback; here each also gives a promise where it gets none.
declare module "express-session" {
  interface Cookie {
    partitioned?: boolean | undefined;
    priority?: "low" | "medium" | "high" | undefined;
  }
  interface Session {
    /** Stores now what changed so far; the end of the response does so anyway. */
    save(): Promise<void>;
    /** Gives up this request's changes. `req.session` is a new object then, with what is stored. */
    reload(): Promise<void>;
    /**
     * Ends the session and begins another, with another id; empty, but for what `keep` names: true, or a list of attributes.
     * `req.session` is a new object then.
     */
    regenerate(options?: RegenerateOptions): Promise<void>;
    regenerate(options: RegenerateOptions, callback: (error: unknown) => void): this;
    /** Whether this request has the session to itself now. */
    readonly isLocked: boolean;
    /**
     * Waits until this request has the session to itself, and brings `req.session` up to date; until the response, or
     * `release()`. Rejects with MSM_ERR_LOCK_TIMEOUT, MSM_ERR_LOCK_QUEUE_FULL, MSM_ERR_SESSION_GONE or MSM_ERR_CONFLICT.
     */
    lock(): Promise<void>;
    /** Lets the next request in before this one is answered; what is changed is not saved by it. */
    release(): Promise<void>;
    /** Ends the session and clears its cookie. `req.session` is undefined from the call on. */
    destroy(): Promise<void>;
  }
}
