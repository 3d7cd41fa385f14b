// @fastify/session's own types go on holding, and with them what applications add to `fastify`'s `Session`.
import type { RegenerateOptions, SessionManager } from "@msm/core";

declare module "@fastify/session" {
  interface FastifySessionObject {
    /** Gives the session a new id; `keep` says which attributes go on under it. */
    regenerate(options: RegenerateOptions): Promise<void>;
    /** On msm's nodes: whether this request has the session to itself now. */
    readonly isLocked: boolean;
    /**
     * On msm's nodes: waits until this request has the session to itself, and brings `request.session` up to date; until
     * the response, or `release()`. Rejects with MSM_ERR_LOCK_TIMEOUT, MSM_ERR_LOCK_QUEUE_FULL, MSM_ERR_SESSION_GONE or
     * MSM_ERR_CONFLICT.
     */
    lock(): Promise<void>;
    /** On msm's nodes: lets the next request in before this one is answered; what is changed is not saved by it. */
    release(): Promise<void>;
  }
}

declare module "fastify" {
  interface FastifyInstance {
    /** The manager behind the sessions, for its events, counts and health; where they are on msm's nodes. */
    sessionManager: SessionManager;
  }

  interface FastifyContextConfig {
    /**
     * For a route whose requests are to have their session to themselves (true) or need no lock (false), whatever `locking`
     * says; where sessions are on msm's nodes.
     */
    sessionLock?: boolean;
  }
}
