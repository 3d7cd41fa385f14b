import { type Attributes, longestTimeMs, MsmError, type Session, type SessionManager } from "@msm/core";
import { cookieAgeOf, cookieAttribute } from "@msm/core/node";
import expressSession, { type SessionData, type Store } from "express-session";

/**
 * Makes an express-session store of a manager, for those who keep express-session's middleware, or @fastify/session's:
 * their rules, on msm's nodes. Several processes may have one each, on the same nodes.
 *
 * What such a middleware does not know of is not there: nobody waits for a lock, and the last `set()` of a session wins as a
 * whole; only two that meet are merged attribute by attribute. A session that was destroyed stays so, whatever a slow
 * request stores after that. Where the nodes cannot be asked, the callback gets the error; a session that is not there
 * is `null`.
 *
 * The manager's options for cookies and locks have no effect; a cookie's age becomes its session's idle timeout. Closing
 * the manager stays the application's.
 */
export function toStore(manager: Pick<SessionManager, "open">): Store {
  return new ManagerStore(manager);
}

type Done<T = void> = (error?: unknown, value?: T) => void;

class ManagerStore extends expressSession.Store {
  readonly #manager: Pick<SessionManager, "open">;

  constructor(manager: Pick<SessionManager, "open">) {
    super();
    this.#manager = manager;
  }

  get(id: string, callback: Done<SessionData | null>): void {
    answer(
      this.#work(id, async ({ session }) => (session.isNew ? null : dataOf(session))),
      callback,
    );
  }

  set(id: string, data: SessionData, callback?: Done): void {
    answer(
      this.#work(id, async ({ session, save }) => {
        if (isOver(data.cookie)) return session.destroy();
        replaceAttributes(session.attributes, data);
        noteCookie(session, data.cookie);
        await save();
      }),
      callback,
    );
  }

  /** Reading it has begun its time to live anew; what is left is a cookie whose age was changed. */
  override touch(id: string, data: SessionData, callback?: Done): void {
    answer(
      this.#work(id, async ({ session, save }) => {
        if (session.isNew) return;
        noteCookie(session, data.cookie);
        await save();
      }),
      callback,
    );
  }

  destroy(id: string, callback?: Done): void {
    answer(
      this.#work(id, ({ session }) => session.destroy()),
      callback,
    );
  }

  /** Works on the session of that id, which is new where there is none. */
  async #work<T>(id: string, work: (found: Found) => Promise<T>): Promise<T> {
    const exchange = await this.#manager.open(requestFor(id));
    try {
      const { session } = exchange;
      if (session === undefined) throw new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "the nodes do not answer");
      const save = async () => {
        const { error } = await exchange.commit();
        if (error !== undefined) throw error;
      };
      return await work({ session, save });
    } finally {
      await exchange.end();
    }
  }
}

interface Found {
  readonly session: Session;
  save(): Promise<void>;
}

/** The middleware has verified who asks: this is no request, and its client is told nothing. */
const requestFor = (id: string) => ({
  method: "",
  url: "",
  cookieHeader: undefined,
  secure: false,
  lock: false,
  tokens: { read: () => ({ id, value: "" }), value: () => "" },
  newId: () => id,
});

/** On the next tick, so that what a callback throws is an exception, and not a promise that nobody holds. */
function answer<T>(work: Promise<T>, callback: Done<T> = () => {}): void {
  work.then(
    (value) => process.nextTick(callback, null, value),
    (error) => process.nextTick(callback, error),
  );
}

// --- a session's attributes, and its cookie ------------------------------------------------------------------------

/** What a cookie is stored as: without the time at which it expires, which would differ with each request. */
interface StoredCookie {
  readonly originalMaxAge: number | null;
  /** Only where the session is to end at a certain time: ISO 8601. */
  readonly expires?: string;
}

function dataOf(session: Session): SessionData {
  const { [cookieAttribute]: stored, ...attributes } = session.attributes;
  const age = cookieAgeOf(session) ?? null;
  const { expires, ...cookie } = (stored ?? {}) as Partial<StoredCookie>;
  return {
    ...attributes,
    cookie: { path: "/", httpOnly: true, ...cookie, originalMaxAge: age, expires: expiryOf(age, expires) },
  } as unknown as SessionData;
}

function expiryOf(ageMs: number | null, expires: string | undefined): Date | null {
  if (expires !== undefined) return new Date(expires);
  return ageMs === null ? null : new Date(Date.now() + ageMs);
}

function replaceAttributes(attributes: Attributes, { cookie: _, ...data }: SessionData): void {
  for (const name of Object.keys(attributes)) {
    if (name !== cookieAttribute && !(name in data)) delete attributes[name];
  }
  for (const [name, value] of Object.entries(data)) {
    if (typeof value !== "function") attributes[name] = value;
  }
}

/** What express-session's and @fastify/session's cookies have in common. */
interface AnyCookie {
  readonly originalMaxAge?: number | null;
  readonly expires?: Date | string | null | undefined;
}

/** What else is stored of a cookie: the rest is express-session's and @fastify/session's own business. */
const storedOptions = [
  "path",
  "domain",
  "httpOnly",
  "secure",
  "sameSite",
  "partitioned",
  "priority",
] as const;

function noteCookie(session: Session, cookie: AnyCookie): void {
  const { originalMaxAge = null } = cookie;
  const expiresMs = originalMaxAge === null ? expiryMsOf(cookie) : undefined;
  const options = storedOptions.map((name) => [name, (cookie as Record<string, unknown>)[name]] as const);
  session.attributes[cookieAttribute] = {
    ...Object.fromEntries(options.filter(([, value]) => value !== undefined && value !== null)),
    originalMaxAge,
    ...(expiresMs === undefined ? {} : { expires: new Date(expiresMs).toISOString() }),
  };
  const lifeMs = expiresMs === undefined ? originalMaxAge : expiresMs - Date.now();
  if (lifeMs !== null && lifeMs > 0) session.idleTimeoutMs = Math.min(lifeMs, longestTimeMs);
}

const isOver = (cookie: AnyCookie): boolean => (expiryMsOf(cookie) ?? Number.POSITIVE_INFINITY) <= Date.now();

function expiryMsOf({ expires }: AnyCookie): number | undefined {
  return expires === undefined || expires === null ? undefined : new Date(expires).getTime();
}
