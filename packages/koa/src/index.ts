// Re-exported and not merely imported: the build drops an import of nothing, and `ctx.session` would lose its type.
export type { Session } from "koa-session";

import type { RegenerateOptions } from "@msm/core";
import { session } from "./session.js";

export type { UnusableSession } from "./koa-events.js";
export type { PreviousOptions } from "./nodes/previous.js";
export type {
  ExternalKey,
  KoaCookieOptions,
  KoaOptions,
  NodesOptions,
  OwnManagerOptions,
  ReadyManagerOptions,
  SessionOptions,
  SessionStore,
  StoreDetails,
  StoredData,
  StoreOptions,
} from "./options.js";
export type { SessionMiddleware } from "./session.js";
export type { KeySet } from "./signed-cookies.js";
export { session };
export default session;

// The types of koa-session 6 and 7 lack some members; its methods take a callback, and give a promise where they get none.
declare module "koa-session" {
  interface Session {
    /** True where the client had no session before this request. */
    readonly isNew: boolean;
    /** The session's id. */
    readonly externalKey: string | undefined;
    /** Stores the session now, whatever is in it; the end of the request does so anyway where it changed. */
    save(): Promise<void>;
    /** Gives the session another id. It keeps its values, as with koa-session, unless `keep` says otherwise. */
    regenerate(options?: RegenerateOptions): Promise<void>;
    /** Ends the session and clears its cookie. `ctx.session` is null from the call on. */
    destroy(): Promise<void>;
    /** Whether this request has the session to itself now. */
    readonly isLocked: boolean;
    /**
     * Waits until this request has the session to itself, and brings `ctx.session` up to date; until the response, or
     * `release()`. Rejects with MSM_ERR_LOCK_TIMEOUT, MSM_ERR_LOCK_QUEUE_FULL, MSM_ERR_SESSION_GONE or MSM_ERR_CONFLICT;
     * with a `store`, which cannot lock, with MSM_ERR_OPTION.
     */
    lock(): Promise<void>;
    /** Lets the next request in before this one is answered; what is changed is not saved by it. */
    release(): Promise<void>;
  }
}
