import { randomBytes } from "node:crypto";
import { holdResponse } from "@msm/core/node";
import type { NextFunction, Request, RequestHandler, Response } from "express";
import expressSession, { type Session, type SessionData } from "express-session";
import { secretsFor } from "../compat-options.js";
import { newCookie } from "../cookie-options.js";
import { ErrorAnswer } from "../error-answer.js";
import type { AnyHandler } from "../middleware.js";
import { originalPathOf } from "../request-facts.js";
import { signedTokens } from "../signed-tokens.js";
import { callStore } from "./store-calls.js";
import { StoreExchange } from "./store-exchange.js";
import {
  birthAttribute,
  type StoreSessionOptions,
  type StoreSettings,
  storeSettings,
  warnOfMemoryStore,
} from "./store-options.js";

/** Requests with a session of ours: one store may serve several middlewares, each with options of its own. */
const requests = new WeakMap<object, { generate(): void }>();

/**
 * Gives each request its session out of an express-session store, as express-session does, by the same rules and with the
 * same cookie. What differs is that the answer, headers included, reaches the client once the session is saved; that
 * `next(error)` answers where it cannot be; that the cookie of a destroyed session is cleared; and that `save`, `reload`,
 * `regenerate` and `destroy` give a promise where they get no callback.
 *
 * @throws MsmError MSM_ERR_OPTION on an option that makes no sense
 */
export function storeSession(options: StoreSessionOptions): AnyHandler {
  const settings = storeSettings(options);
  const { store, compat, name } = settings;
  warnOfMemoryStore(store);
  const generate = generator(settings);
  store.generate = (req) => {
    const known = requests.get(req);
    if (known === undefined) generate(req as Request);
    else known.generate();
  };
  const connection = watchConnection(settings);

  const openSession: RequestHandler = (req, res, next) => {
    if (req.session || connection.isLost) return next();
    let isLoading: boolean;
    try {
      const isElsewhere = !originalPathOf(req).startsWith(compat.cookieFor(req).path || "/");
      isLoading = !isElsewhere && open(req, res, next);
    } catch (error) {
      return next(error); // of the application's functions, or of a request without a secret
    }
    if (!isLoading) next();
  };
  return openSession as AnyHandler;

  /** @returns whether `next` is called later */
  function open(req: Request, res: Response, next: NextFunction): boolean {
    const secrets = secretsFor(compat, req);
    const cookieId = signedTokens(req, name, secrets).read(req.headers.cookie)?.id || undefined;
    const exchange = new StoreExchange(req, settings, secrets, cookieId);
    Object.assign(req, { sessionStore: store, sessionID: cookieId });
    requests.set(req, {
      generate() {
        generate(req);
        exchange.noteGenerated();
      },
    });
    if (cookieId === undefined) {
      begin(undefined);
      return false;
    }

    callStore<SessionData | null>(
      "get",
      settings.storeTimeoutMs,
      (callback) => store.get(cookieId, callback),
      (error, found) => {
        if (error && !isNotFound(error)) return next(error);
        try {
          begin(error ? undefined : usable(found, cookieId, settings));
        } catch (thrown) {
          return next(thrown); // such as a stored session without its cookie
        }
        next();
      },
    );
    return true;

    function begin(found: SessionData | undefined): void {
      if (found === undefined) store.generate(req as Express.Request);
      else store.createSession(req, found);
      exchange.begin(found !== undefined);
      holdResponse(res, exchange, new ErrorAnswer((error) => next(exchange.failure ?? error)));
    }
  }
}

/** What makes a new session and puts it on its request. */
function generator({ compat, absoluteTimeoutMs }: StoreSettings): (req: Request) => void {
  return (req) => {
    req.sessionID = compat.genid?.(req) ?? randomBytes(24).toString("base64url");
    const session = createSession(req);
    session.cookie = newCookie(compat.cookieFor(req), compat.isSecure(req));
    if (absoluteTimeoutMs !== undefined) Object.assign(session, { [birthAttribute]: Date.now() });
    req.session = session;
  };
}

/** express-session's constructor takes what its type does not say. */
const createSession = (req: Request) =>
  new (expressSession.Session as unknown as new (req: Request) => Session)(req);

/** A store that says that it is disconnected has its requests go without a session until it is connected again. */
function watchConnection({ store }: StoreSettings): { readonly isLost: boolean } {
  const connection = { isLost: false };
  store.on("disconnect", () => {
    connection.isLost = true;
  });
  store.on("connect", () => {
    connection.isLost = false;
  });
  return connection;
}

const isNotFound = (error: unknown) =>
  typeof error === "object" && error !== null && "code" in error && error.code === "ENOENT";

/** What the store has, unless it is nothing, or has lived long enough. */
function usable(
  found: SessionData | null | undefined,
  id: string,
  { absoluteTimeoutMs, store, storeTimeoutMs }: StoreSettings,
): SessionData | undefined {
  if (!found || absoluteTimeoutMs === undefined) return found || undefined;
  const bornMs = (found as { [birthAttribute]?: unknown })[birthAttribute];
  // It began before the option was set: its time begins now.
  if (typeof bornMs !== "number") return Object.assign(found, { [birthAttribute]: Date.now() });
  if (Date.now() - bornMs < absoluteTimeoutMs) return found;
  // Where that fails, it is too old the next time as well.
  callStore(
    "destroy",
    storeTimeoutMs,
    (callback) => store.destroy(id, callback),
    () => {},
  );
  return undefined;
}
