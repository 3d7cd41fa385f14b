import { inspect } from "node:util";
import type { Attributes, RegenerateOptions, Session } from "@msm/core";
import type { Cookie, Session as ExpressSession } from "express-session";
import expressSession from "express-session";
import type { RequestSession } from "./request-session.js";
import { copyCookie, type SessionCookie } from "./session-cookie.js";

/** Gives an object in `req.session` an id and attributes of its own, when the session goes on without it. */
export type Detach = (id: string, attributes: Attributes) => void;

type Callback = (error?: unknown) => void;

/** Members that express-session does not have: an application that keeps attributes of these names goes on doing so. */
export const ownMembers: ReadonlySet<string> = new Set(["lock", "release", "isLocked"]);

/** Leads from an object in `req.session` to what stands behind it. */
const owner = Symbol("msm.owner");

/** What stands behind one `req.session`. */
class Owner {
  readonly own: RequestSession;
  /** That of the session at that time: an object of before `regenerate()` keeps its own. */
  readonly cookie: SessionCookie;

  constructor(own: RequestSession) {
    this.own = own;
    this.cookie = own.sessionCookie;
  }
}

interface Members {
  readonly [owner]: Owner;
}

/** The session behind an object in `req.session`, whatever its attributes are called. */
export const sessionOf = (view: ExpressSession): Session =>
  (view as ExpressSession & Members)[owner].own.session;

/** Makes the members of one `req.session`: its `cookie`, and what express-session's `Session` has. */
export function createMembers(own: RequestSession): { members: ExpressSession; detach: Detach } {
  const members: ExpressSession = Object.create(prototype);
  Object.defineProperty(members, owner, { value: new Owner(own) });
  Object.defineProperty(members, "cookie", cookieProperty);
  const detach: Detach = (id, { cookie: _, ...attributes }) => {
    Object.defineProperty(members, "id", { value: id, configurable: true });
    Object.assign(members, attributes);
  };
  return { members, detach };
}

/** The same for all: with accessors of its own, each object would have a shape of its own, which V8 pays dearly for. */
const cookieProperty: PropertyDescriptor = {
  get(this: Members) {
    return this[owner].cookie.shown;
  },
  // Passport's `keepSessionInfo` copies the old session's cookie to the new session.
  set(this: Members, other: Cookie) {
    copyCookie(other, this[owner].cookie.shown);
  },
  enumerable: true,
  configurable: true,
};

/** So that `req.session instanceof Session` holds for express-session's class. */
const prototype: object = Object.create(expressSession.Session.prototype, {
  ...getter("id", ({ session }) => session.id),
  ...getter("req", ({ req }) => req),
  ...asynchronous("save", (own) => own.save()),
  ...asynchronous("reload", (own) => own.reload()),
  ...asynchronous("regenerate", (own, options) => own.regenerate(options)),
  ...asynchronous("destroy", (own) => own.destroy()),
  ...getter("isLocked", ({ session }) => session.isLocked),
  ...described("lock", function (this: Members) {
    return this[owner].own.session.lock();
  }),
  ...described("release", function (this: Members) {
    return this[owner].own.session.release();
  }),
  ...method("touch", (own) => own.touch()),
  // console.log() looks behind a Proxy, and would show the members only.
  [inspect.custom]: {
    value(this: object) {
      return { ...this };
    },
    configurable: true,
  },
});

function getter(name: string, read: (own: RequestSession) => unknown): PropertyDescriptorMap {
  return {
    [name]: {
      get(this: Members) {
        return read(this[owner].own);
      },
      configurable: true,
    },
  };
}

function method(name: string, run: (own: RequestSession) => void): PropertyDescriptorMap {
  return described(name, function (this: Members) {
    run(this[owner].own);
    return this;
  });
}

/** With a callback, a method returns its session, as express-session's does; without one, a promise. */
function asynchronous(
  name: string,
  run: (own: RequestSession, options?: RegenerateOptions) => Promise<void>,
): PropertyDescriptorMap {
  return described(name, function (this: Members, ...args: readonly (Callback | RegenerateOptions)[]) {
    const options = args.find((arg): arg is RegenerateOptions => typeof arg === "object" && arg !== null);
    const callback = args.find((arg) => typeof arg === "function");
    const done = run(this[owner].own, options);
    if (callback === undefined) return ignorable(done);
    // On the next tick, so that what a callback throws is an exception and not a promise that nobody holds.
    done.then(
      () => process.nextTick(callback),
      (error) => process.nextTick(callback, error),
    );
    return this;
  });
}

/**
 * Applications call `req.session.save()` and look no further. Its rejection must not end their process: the commit at
 * the end of the response meets the same trouble, and reports it.
 */
function ignorable(promise: Promise<void>): Promise<void> {
  promise.catch(() => {});
  return promise;
}

function described(name: string, value: unknown): PropertyDescriptorMap {
  return { [name]: { value, writable: true, configurable: true } };
}
