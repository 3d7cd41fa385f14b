import {
  type CookieOptions,
  createSessionManager,
  MsmError,
  type SessionManager,
  type SessionManagerOptions,
} from "@msm/core";
import { holdResponse, sessionRequestOf } from "@msm/core/node";
import type { Request, RequestHandler } from "express";
import { sessionOf } from "./members.js";
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
export type SessionMiddleware = RequestHandler & {
  readonly manager: SessionManager;
  /**
   * For a path or a route whose requests are to have their session to themselves, whatever `locking` says: before this
   * middleware (`app.use("/cart", sessions.locked)`) or behind it (`app.post("/cart", sessions.locked, handler)`), where
   * it waits for the lock then.
   */
  readonly locked: RequestHandler;
  /** For a path or a route whose requests need no lock, whatever `locking` says: before this middleware or behind it. */
  readonly unlocked: RequestHandler;
};

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
  /** What `locked` or `unlocked` said of requests whose session is not open yet. */
  const choices = new WeakMap<object, boolean>();

  const openSession: RequestHandler = (req, res, next) => {
    if (req.session) return next();

    const details = {
      url: req.originalUrl,
      secure: req.secure,
      routePattern: routePatternOf(req),
      lock: choices.get(req),
    };
    manager.open(sessionRequestOf(req, details)).then((exchange) => {
      if (exchange.session === undefined) {
        void exchange.end();
      } else {
        const own = new RequestSession(req, exchange, exchange.session, shownCookie);
        own.attach();
        holdResponse(res, own, { answerError: next });
      }
      next();
    }, refuse);

    function refuse(error: unknown): void {
      if (error instanceof MsmError && error.headers !== undefined) res.set({ ...error.headers });
      next(error);
    }
  };
  const locked: RequestHandler = (req, _res, next) => {
    if (req.session)
      return void sessionOf(req.session)
        .lock()
        .then(() => next(), next);
    choices.set(req, true);
    next();
  };
  const unlocked: RequestHandler = (req, _res, next) => {
    if (req.session)
      return void sessionOf(req.session)
        .release()
        .then(() => next(), next);
    choices.set(req, false);
    next();
  };
  return Object.assign(openSession, { manager, locked, unlocked });
}

/** Express knows the route only where the middleware is mounted in it, not where it stands before the routes. */
function routePatternOf({ baseUrl, route }: Request): string | undefined {
  const path: unknown = route?.path;
  return typeof path === "string" ? baseUrl + path : undefined;
}
