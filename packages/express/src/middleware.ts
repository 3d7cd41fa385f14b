import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { SessionManager } from "@msm/core";
import type { RequestHandler } from "express";
import { type NodesOptions, type ReadyManager, resolveNodesOptions } from "./nodes-options.js";
import { nodesSession } from "./nodes-session.js";
import type { StoreSessionOptions } from "./store/store-options.js";
import { storeSession } from "./store/store-session.js";

/**
 * What `session()` takes: options for a manager of its own, a manager that is shared, or a store of express-session's with
 * none of msm's features.
 */
export type SessionOptions = NodesOptions | ReadyManager | StoreSessionOptions;

/** A middleware of Express, and of Node's http, https and http2 modules. */
export type AnyHandler = RequestHandler &
  ((
    req: IncomingMessage | Http2ServerRequest,
    res: ServerResponse | Http2ServerResponse,
    next: (error?: unknown) => void,
  ) => void);

/** A request of Node's own modules behind the middleware, for who uses it without Express: `(req as WithSession).session`. */
export type WithSession<Req extends IncomingMessage | Http2ServerRequest = IncomingMessage> = Req &
  Pick<Express.Request, "session" | "sessionID" | "sessionStore">;

/** The middleware, with the manager behind it: for its events, its counts, and for `close()`. */
export type SessionMiddleware = AnyHandler & {
  readonly manager: SessionManager;
  /**
   * For a path or a route whose requests are to have their session to themselves, whatever `locking` says: before this
   * middleware (`app.use("/cart", sessions.locked)`) or behind it (`app.post("/cart", sessions.locked, handler)`), where
   * it waits for the lock then.
   */
  readonly locked: AnyHandler;
  /** For a path or a route whose requests need no lock, whatever `locking` says: before this middleware or behind it. */
  readonly unlocked: AnyHandler;
};

/**
 * Gives each request its session as `req.session`, with express-session's members: `id`, `cookie`, `save`, `reload`,
 * `regenerate`, `destroy`, `touch` and `resetMaxAge`. The answer reaches the client once the session is saved; where it
 * cannot be saved, `next(error)` answers instead, with `error.status` 503 or 409.
 *
 * A request whose `req.session` is set already is passed on as it is, so mounting twice does no harm.
 *
 * @throws MsmError MSM_ERR_OPTION on an option that makes no sense; TypeError where express-session throws one
 */
export function session(options: StoreSessionOptions): AnyHandler;
export function session(options: SessionOptions): SessionMiddleware;
export function session(options: SessionOptions): AnyHandler {
  // The one place where the way to store is chosen.
  return hasStore(options) ? storeSession(options) : nodesSession(resolveNodesOptions(options));
}

/** As with express-session, `store: undefined` says nothing. */
const hasStore = (options: SessionOptions): options is StoreSessionOptions =>
  typeof options === "object" && options !== null && "store" in options && options.store !== undefined;
