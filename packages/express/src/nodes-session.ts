import { MsmError, type SessionExchange } from "@msm/core";
import {
  type AdoptedRequest,
  type AnyServerResponse,
  addSessionCookie,
  holdResponse,
  sessionRequestOf,
} from "@msm/core/node";
import type { Request, RequestHandler, Response } from "express";
import { type GivenCookie, idleTimeoutMsOf } from "./cookie-options.js";
import { ErrorAnswer } from "./error-answer.js";
import { sessionOf } from "./members.js";
import type { SessionMiddleware } from "./middleware.js";
import type { NodesWay } from "./nodes-options.js";
import { keepInTables } from "./property-tables.js";
import { originalPathOf, originalUrlOf } from "./request-facts.js";
import { RequestSession } from "./request-session.js";
import type { CookieSource } from "./session-cookie.js";

/** Makes the middleware for sessions on msm's nodes. */
export function nodesSession(way: NodesWay): SessionMiddleware {
  const { manager, compat } = way;
  /** What `locked` or `unlocked` said of requests whose session is not open yet. */
  const choices = new WeakMap<object, boolean>();

  const openSession: RequestHandler = (req, res, next) => {
    if (req.session) return next();
    let beginning: void | Promise<void>;
    try {
      beginning = begin(req, res, next);
    } catch (error) {
      return refuse(res, error, next);
    }
    if (beginning === undefined) next();
    else
      beginning.then(
        () => next(),
        (error: unknown) => refuse(res, error, next),
      );
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
  return Object.assign(openSession, { manager, locked, unlocked }) as SessionMiddleware;

  /**
   * Gives the request its session, where it is to have one.
   * @returns a promise only where something has to be waited for
   * @throws what the application's functions throw; and of a request without a secret, or as `manager.open()`
   */
  function begin(req: Request, res: Response, next: Next): void | Promise<void> {
    const given = way.cookieFor(req);
    if (!originalPathOf(req).startsWith(given.path ?? "/")) return;
    keepInTables(req, res); // first: all that follows uses them
    const isSecure = compat.isSecure(req);
    const { genid } = compat;
    const request = sessionRequestOf(req, {
      url: originalUrlOf(req),
      secure: isSecure,
      routePattern: routePatternOf(req),
      lock: choices.get(req),
      tokens: way.tokensFor(req),
      newId: genid === undefined ? undefined : () => genid(req),
    });
    const exchange = way.adopt === undefined ? manager.open(request) : openAdopted(way.adopt(request), res);
    const source = { given, isSecure };
    if (exchange instanceof Promise) return exchange.then((opened) => hold(req, res, next, opened, source));
    hold(req, res, next, exchange, source);
  }

  async function openAdopted(
    adopting: AdoptedRequest | Promise<AdoptedRequest>,
    res: AnyServerResponse,
  ): Promise<SessionExchange> {
    const { request, isFormerLeftOver } = await adopting;
    if (isFormerLeftOver && way.clearFormerCookie !== undefined) addSessionCookie(res, way.clearFormerCookie);
    return manager.open(request);
  }

  function hold(
    req: Request,
    res: AnyServerResponse,
    next: Next,
    exchange: SessionExchange,
    { given, isSecure }: { readonly given: GivenCookie; readonly isSecure: boolean },
  ): void {
    const { session } = exchange;
    if (session === undefined) return void exchange.end();
    const own = new RequestSession(req, exchange, session, way, new RequestCookie(way, given, isSecure));
    own.attach();
    holdResponse(res, own, new ErrorAnswer(next));
  }
}

/** A class for the reason that `ErrorAnswer` is one. */
class RequestCookie implements CookieSource {
  readonly given: GivenCookie;
  readonly isOfRequest: boolean;
  readonly requestIsSecure: boolean;
  readonly idleTimeoutMs: number | undefined;

  constructor(way: NodesWay, given: GivenCookie, requestIsSecure: boolean) {
    this.given = given;
    this.isOfRequest = way.cookieIsOfRequest;
    this.requestIsSecure = requestIsSecure;
    this.idleTimeoutMs = way.ageIsIdleTimeout ? idleTimeoutMsOf(given) : undefined;
  }
}

type Next = (error?: unknown) => void;

/** An error handler answers. */
function refuse(res: AnyServerResponse, error: unknown, next: Next): void {
  if (error instanceof MsmError) setHeaders(res, error.headers);
  next(error);
}

function setHeaders(res: AnyServerResponse, headers: Readonly<Record<string, string>> = {}): void {
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
}

/** Express knows the route only where the middleware is mounted in it, not where it stands before the routes. */
function routePatternOf(req: Request): string | undefined {
  const path: unknown = req.route?.path;
  return typeof path === "string" ? req.baseUrl + path : undefined;
}
