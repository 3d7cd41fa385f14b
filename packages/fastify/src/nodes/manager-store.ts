import { type Attributes, MsmError, type Session, type SessionManager } from "@msm/core";
import { cookieAgeOf, setCookieAge } from "@msm/core/node";
import type { SessionStore } from "../library.js";
import { type CookieSource, SessionCookie } from "../session-cookie.js";

/**
 * `request.sessionStore` where sessions are on msm's nodes: what applications do with any session by its id, with the
 * methods that @fastify/session's stores have.
 */
export function managerStore(manager: SessionManager, cookie: CookieSource): SessionStore {
  return {
    get(id, callback) {
      const found = manager.withSession(id, (session) => asStored(session, cookie));
      settle<object | undefined>(found.catch(unlessGone), (error, stored) => callback(error, stored ?? null));
    },
    set(id, data, callback) {
      settle(set(id, { ...data }), callback);
    },
    destroy(id, callback) {
      settle(manager.withSession(id, (session) => session.destroy()).catch(unlessGone), callback);
    },
    touch(id, _data, callback) {
      settle(manager.withSession(id, (session) => session.touch()).catch(unlessGone), callback);
    },
  };

  async function set(id: string, data: Attributes): Promise<void> {
    const isThere = await manager
      .withSession(id, (session) => {
        replaceAttributes(session, data);
        return true;
      })
      .catch(unlessGone);
    if (isThere !== true) await create(id, data);
  }

  async function create(id: string, data: Attributes): Promise<void> {
    const request = { method: "", url: "", cookieHeader: undefined, secure: false, lock: false };
    const exchange = await manager.open({ ...request, newId: () => id });
    try {
      if (exchange.session !== undefined) replaceAttributes(exchange.session, data);
      const { error } = await exchange.commit();
      if (error !== undefined) throw error;
    } finally {
      await exchange.end();
    }
  }
}

function asStored(session: Session, options: CookieSource): Attributes {
  const { cookie: _, ...attributes } = session.attributes;
  const ageMs = cookieAgeOf(session);
  const source = ageMs === undefined ? options : { ...options, originalMaxAge: ageMs };
  return { ...attributes, cookie: new SessionCookie(source, false).toJSON() };
}

function replaceAttributes(session: Session, { cookie, ...data }: Attributes): void {
  for (const name of Object.keys(session.attributes)) if (name !== "cookie") delete session.attributes[name];
  Object.assign(session.attributes, data);
  const ageMs: unknown = cookie?.originalMaxAge;
  if (typeof ageMs === "number") setCookieAge(session, ageMs);
}

function settle<T>(work: Promise<T>, callback: (error?: unknown, value?: T) => void): void {
  work.then(
    (value) => process.nextTick(callback, null, value),
    (error: unknown) => process.nextTick(callback, error),
  );
}

function unlessGone(error: unknown): undefined {
  if (error instanceof MsmError && error.code === "MSM_ERR_SESSION_GONE") return undefined;
  throw error;
}
