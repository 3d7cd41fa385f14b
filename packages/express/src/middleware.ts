import {
  type CookieOptions,
  createSessionManager,
  type SessionManager,
  type SessionManagerOptions,
} from "@msm/core";
import { holdResponse, sessionRequestOf } from "@msm/core/node";
import type { RequestHandler } from "express";
import { RequestSession } from "./request-session.js";

/** What `session()` takes: options for a manager of its own, or a manager that is shared. */
export type SessionOptions = SessionManagerOptions | ReadyManager;

/** A manager that the application made itself, for instance in order to share it. */
export interface ReadyManager {
  readonly manager: SessionManager;
  /** The manager's `cookie` option once more: what `req.session.cookie` shows. Left out, it shows msm's defaults. */
  readonly cookie?: CookieOptions;
}

/** The middleware, with the manager behind it: for its events, its counts, and for `close()`. */
export type SessionMiddleware = RequestHandler & { readonly manager: SessionManager };

/**
 * Gives each request its session as `req.session`, with express-session's members: `id`, `cookie`, `save`, `reload`,
 * `regenerate`, `destroy`, `touch` and `resetMaxAge`. The answer reaches the client once the session is saved; where it
 * cannot be saved, `next(error)` answers instead, with `error.status` 503 or 409.
 *
 * A request whose `req.session` is set already is passed on as it is, so mounting twice does no harm.
 *
 * @throws MsmError MSM_ERR_OPTION on an option that makes no sense
 */
export function session(options: SessionOptions): SessionMiddleware {
  const manager = "manager" in options ? options.manager : createSessionManager(options);
  const shownCookie = options.cookie ?? {};

  const openSession: RequestHandler = (req, res, next) => {
    if (req.session) return next();

    manager.open(sessionRequestOf(req, { url: req.originalUrl, secure: req.secure })).then((exchange) => {
      if (exchange.session === undefined) {
        void exchange.end();
      } else {
        const own = new RequestSession(req, exchange, exchange.session, shownCookie);
        own.attach();
        holdResponse(res, own, { answerError: next });
      }
      next();
    }, next);
  };
  return Object.assign(openSession, { manager });
}
