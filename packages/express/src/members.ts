import { inspect } from "node:util";
import type { Attributes, MemberRules, RegenerateOptions, Session } from "@msm/core";
import type { Cookie, Session as ExpressSession } from "express-session";
import expressSession from "express-session";
import type { RequestSession } from "./request-session.js";
import { copyCookie, type SessionCookie } from "./session-cookie.js";

type Callback = (error?: unknown) => void;

const rules: MemberRules = {
  // express-session does not have them: an application that keeps attributes of these names goes on doing so.
  yielding: new Set(["lock", "release", "isLocked"]),
  // Own and enumerable, as express-session's: copies of a session have it.
  listed: ["cookie"],
};

/** Leads from an object in `req.session` to what stands behind it. */
const owner = Symbol("msm.owner");

/** Leads from such an object to its members alone. */
const membersAlone = Symbol("msm.members");

/** What stands behind one `req.session`. */
class Owner {
  readonly own: RequestSession;
  #cookie: SessionCookie | undefined;

  constructor(own: RequestSession) {
    this.own = own;
  }

  /** That of the session at that time: an object of before `regenerate()` keeps its own. */
  get cookie(): SessionCookie {
    return this.#cookie ?? this.own.sessionCookie;
  }

  keepCookie(): void {
    this.#cookie ??= this.own.sessionCookie;
  }
}

/** The members of one `req.session`. None is its own: V8 makes an object of that kind in no time. */
class Members {
  readonly #owner: Owner;

  constructor(own: RequestSession) {
    this.#owner = new Owner(own);
  }

  get [owner](): Owner {
    return this.#owner;
  }

  get [membersAlone](): this {
    return this;
  }

  get cookie(): Cookie {
    return this[owner].cookie.shown;
  }

  // Passport's `keepSessionInfo` copies the old session's cookie to the new session.
  set cookie(other: Cookie) {
    copyCookie(other, this[owner].cookie.shown);
  }
}

const membersOf = (view: ExpressSession): Members => view as unknown as Members;

/** The session behind an object in `req.session`, whatever its attributes are called. */
export const sessionOf = (view: ExpressSession): Session => membersOf(view)[owner].own.session;

/** Makes an object for `req.session`: the attributes, its `cookie`, and what express-session's `Session` has. */
export function createView(own: RequestSession): ExpressSession {
  return own.session.attributesWith(new Members(own), rules) as unknown as ExpressSession;
}

/** The session's cookie is about to become another one: an object in `req.session` goes on with that which it had. */
export function keepCookie(view: ExpressSession): void {
  membersOf(view)[owner].keepCookie();
}

/** Gives an object in `req.session` an id and attributes of its own, as the session goes on without it. */
export function detach(view: ExpressSession, id: string, { cookie: _, ...attributes }: Attributes): void {
  const members = membersOf(view)[membersAlone];
  Object.defineProperty(members, "id", { value: id, configurable: true });
  Object.assign(members, attributes);
}

// So that `req.session instanceof Session` holds for express-session's class.
Object.setPrototypeOf(Members.prototype, expressSession.Session.prototype);
Reflect.deleteProperty(Members.prototype, "constructor");
Object.defineProperties(Members.prototype, {
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
