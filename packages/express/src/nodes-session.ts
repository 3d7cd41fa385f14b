import { MsmError, type Session, type SessionExchange, type SessionRequest } from "@msm/core";
import { type AnyServerResponse, addSessionCookie, holdResponse, sessionRequestOf } from "@msm/core/node";
import type { Request, RequestHandler, Response } from "express";
import { type GivenCookie, idleTimeoutMsOf } from "./cookie-options.js";
import { sessionOf } from "./members.js";
import type { SessionMiddleware } from "./middleware.js";
import type { NodesWay } from "./nodes-options.js";
import { originalPathOf, originalUrlOf } from "./request-facts.js";
import { RequestSession } from "./request-session.js";

/** Makes the middleware for sessions on msm's nodes. */
export function nodesSession(way: NodesWay): SessionMiddleware {
  const { manager, compat } = way;
  /** What `locked` or `unlocked` said of requests whose session is not open yet. */
  const choices = new WeakMap<object, boolean>();

  const openSession: RequestHandler = (req, res, next) => {
    if (req.session) return next();
    try {
      const given = way.cookieFor(req);
      if (!originalPathOf(req).startsWith(given.path ?? "/")) return next();
      open(req, res, next, given);
    } catch (error) {
      next(error); // of the application's `cookie` function, or of a request without a secret
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
  return Object.assign(openSession, { manager, locked, unlocked }) as SessionMiddleware;

  function open(req: Request, res: Response, next: (error?: unknown) => void, given: GivenCookie): void {
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
    openAdopted(request, res).then(
      (exchange) => {
        if (exchange.session === undefined) void exchange.end();
        else begin(req, res, next, exchange, exchange.session, { given, isSecure });
        next();
      },
      (error: unknown) => {
        if (error instanceof MsmError) setHeaders(res, error.headers);
        next(error);
      },
    );
  }

  async function openAdopted(request: SessionRequest, res: AnyServerResponse): Promise<SessionExchange> {
    const adopted = way.adopt(request);
    const { request: opened, isFormerLeftOver } = adopted instanceof Promise ? await adopted : adopted;
    if (isFormerLeftOver && way.clearFormerCookie !== undefined) addSessionCookie(res, way.clearFormerCookie);
    return manager.open(opened);
  }

  function begin(
    req: Request,
    res: AnyServerResponse,
    next: (error?: unknown) => void,
    exchange: SessionExchange,
    session: Session,
    { given, isSecure }: { readonly given: GivenCookie; readonly isSecure: boolean },
  ): void {
    const source = {
      given,
      isOfRequest: way.cookieIsOfRequest,
      requestIsSecure: isSecure,
      idleTimeoutMs: way.ageIsIdleTimeout ? idleTimeoutMsOf(given) : undefined,
    };
    const own = new RequestSession(req, exchange, session, way, source);
    own.attach();
    holdResponse(res, own, { answerError: next });
  }
}

function setHeaders(res: AnyServerResponse, headers: Readonly<Record<string, string>> = {}): void {
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
}

/** Express knows the route only where the middleware is mounted in it, not where it stands before the routes. */
function routePatternOf({ baseUrl, route }: Request): string | undefined {
  const path: unknown = route?.path;
  return typeof path === "string" ? baseUrl + path : undefined;
}
