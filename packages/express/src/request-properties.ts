import type { AnyRequest } from "./request-facts.js";

/** What stands behind `req.session`, `req.sessionID` and `req.sessionStore`. */
export interface ShownSession {
  shown: unknown;
  shownId: unknown;
  readonly store: unknown;
}

/** Leads from a request to what stands behind its properties. */
const behind = Symbol("msm.session");

type Attached = AnyRequest & { [behind]?: ShownSession };

/**
 * Puts `session`, `sessionID` and `sessionStore` on a request. None costs anything until it is used.
 *
 * Accessors are the same functions for all requests: V8 would keep those of one, and with them all that it holds, until the
 * next full collection. And a request of Express has `session` alone for its own, as `delete req.session` is to be noticed.
 */
export function attach(req: AnyRequest, session: ShownSession): void {
  (req as Attached)[behind] = session;
  Object.defineProperty(req, "session", sessionProperty);
  if (hasFromPrototype(Object.getPrototypeOf(req))) return;
  Object.defineProperty(req, "sessionID", others.sessionID);
  Object.defineProperty(req, "sessionStore", others.sessionStore);
}

const sessionProperty = accessor(
  "session",
  ({ shown }) => shown,
  (session, value) => {
    session.shown = value;
  },
);

const others = {
  sessionID: accessor(
    "sessionID",
    ({ shownId }) => shownId,
    (session, value) => {
      session.shownId = value;
    },
  ),
  sessionStore: accessor("sessionStore", ({ store }) => store, undefined),
};

/** @param set undefined: what is assigned takes the property's place */
function accessor(
  name: string,
  get: (session: ShownSession) => unknown,
  set: ((session: ShownSession, value: unknown) => void) | undefined,
): PropertyDescriptor {
  return {
    get(this: Attached) {
      const session = this[behind];
      return session === undefined ? undefined : get(session);
    },
    set(this: Attached, value: unknown) {
      const session = this[behind];
      if (session !== undefined && set !== undefined) set(session, value);
      else Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true });
    },
    enumerable: true,
    configurable: true,
  };
}

/** Prototypes of requests, and whether they have `sessionID` and `sessionStore` for them. */
const prototypes = new WeakMap<object, boolean>();

function hasFromPrototype(prototype: object): boolean {
  const known = prototypes.get(prototype);
  if (known !== undefined) return known;
  const has = giveToRequestsOf(prototype);
  prototypes.set(prototype, has);
  return has;
}

/** @returns false for requests that are not Express', or have these properties from somebody else */
function giveToRequestsOf(prototype: object): boolean {
  const topmost = topmostOfExpress(prototype);
  if (topmost === undefined) return false;
  if (prototypes.get(topmost) === true) return true;
  if ("sessionID" in prototype || "sessionStore" in prototype) return false;
  Object.defineProperties(topmost, others);
  prototypes.set(topmost, true);
  return true;
}

/**
 * Each application has a prototype for its requests, with itself as `app`; that of a mounted one inherits from that of the
 * application where it is mounted, to which a request may go back (express/lib/application.js).
 */
function topmostOfExpress(prototype: object): object | undefined {
  let topmost: object | undefined;
  for (let each: object | null = prototype; each !== null; each = Object.getPrototypeOf(each)) {
    if (Object.hasOwn(each, "app")) topmost = each;
  }
  return topmost;
}
