import { inspect } from "node:util";
import type { Attributes, MemberRules, RegenerateOptions, Session } from "@msm/core";
import { callbackOrPromise } from "../callback-or-promise.js";
import type { FastifySessionObject, LibraryCookieOptions } from "../library.js";
import type { SessionCookie } from "../session-cookie.js";
import { namesAndCallback } from "../sessions.js";

/** The session that an object in `request.session` belongs to. */
export interface SessionOwner {
  readonly session: Session;
  readonly encryptedSessionId: string;
  readonly isSaved: boolean;
  currentCookie: SessionCookie;
  setCookieOptions(options: Partial<LibraryCookieOptions>): void;
  touch(): void;
  save(): Promise<void>;
  reload(): Promise<void>;
  regenerate(options: RegenerateOptions): Promise<void>;
  destroy(): Promise<void>;
}

const rules: MemberRules = {
  // @fastify/session does not have them: an application that keeps attributes of these names goes on doing so.
  yielding: new Set(["lock", "release", "isLocked"]),
  // Own and enumerable, as @fastify/session's: copies of a session have it.
  listed: ["cookie"],
};

/** Leads from an object in `request.session` to whose it is. */
const owner = Symbol("msm.owner");

/** Leads from such an object to its members alone. */
const membersAlone = Symbol("msm.members");

/** The members of one `request.session`. None is its own: V8 makes an object of that kind in no time. */
class Members {
  readonly #owner: SessionOwner;

  constructor(own: SessionOwner) {
    this.#owner = own;
  }

  get [owner](): SessionOwner {
    return this.#owner;
  }

  get [membersAlone](): this {
    return this;
  }

  get cookie(): SessionCookie {
    return this[owner].currentCookie;
  }

  set cookie(cookie: SessionCookie) {
    this[owner].currentCookie = cookie;
  }
}

/** Makes an object for `request.session`: the attributes, and the members of @fastify/session's. */
export function createView(own: SessionOwner): FastifySessionObject {
  return own.session.attributesWith(new Members(own), rules) as unknown as FastifySessionObject;
}

/**
 * Takes a picture of an object in `request.session`.
 * @returns what gives the object that id and those attributes as its own, where the session has gone on without it
 */
export function pictureOf(view: FastifySessionObject): () => void {
  const members = (view as unknown as Members)[membersAlone];
  const { id, attributes } = members[owner].session;
  const { cookie: _, ...kept }: Attributes = { ...attributes };
  return () => {
    Object.defineProperty(members, "sessionId", { value: id, configurable: true });
    Object.assign(members, kept);
  };
}

Object.defineProperties(Members.prototype, {
  ...getter("sessionId", (own) => own.session.id),
  ...getter("encryptedSessionId", (own) => own.encryptedSessionId),
  ...getter("isLocked", (own) => own.session.isLocked),
  ...method("get", (_, view, name) => Reflect.get(view, String(name))),
  ...method("set", (_, view, name, value) => void Reflect.set(view, String(name), value)),
  ...method("isModified", (own) => own.session.isModified),
  ...method("isSaved", (own) => own.isSaved),
  ...method("touch", (own) => own.touch()),
  ...method("options", (own, _, options) => own.setCookieOptions((options ?? {}) as LibraryCookieOptions)),
  ...method("save", (own, _, callback) => callbackOrPromise(own.save(), callback)),
  ...method("reload", (own, _, callback) => callbackOrPromise(own.reload(), callback)),
  ...method("destroy", (own, _, callback) => callbackOrPromise(own.destroy(), callback)),
  ...method("regenerate", (own, _, first, second) => {
    const { names, callback } = namesAndCallback(first, second);
    return callbackOrPromise(own.regenerate(regenerateOptions(names)), callback);
  }),
  ...method("lock", (own) => own.session.lock()),
  ...method("release", (own) => own.session.release()),
  // console.log() looks behind a Proxy, and would show the members only.
  [inspect.custom]: {
    value(this: object) {
      return { ...this };
    },
    configurable: true,
  },
});
// As with @fastify/session, it is a plain object to whoever looks.
Reflect.deleteProperty(Members.prototype, "constructor");

/** @fastify/session names what is kept; here options may say it too. */
function regenerateOptions(names: unknown): RegenerateOptions {
  if (Array.isArray(names)) return { keep: names.map(String) };
  return typeof names === "object" && names !== null ? names : {};
}

function getter(name: string, read: (own: SessionOwner) => unknown): PropertyDescriptorMap {
  return {
    [name]: {
      get(this: Members) {
        return read(this[owner]);
      },
      configurable: true,
    },
  };
}

function method(
  name: string,
  run: (own: SessionOwner, view: object, first: unknown, second: unknown) => unknown,
): PropertyDescriptorMap {
  function value(this: Members, first: unknown, second: unknown): unknown {
    return run(this[owner], this, first, second);
  }
  return { [name]: { value, writable: true, configurable: true } };
}
