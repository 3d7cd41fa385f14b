import type { Attributes, RegenerateOptions, Session } from "@msm/core";
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

/**
 * Takes a picture of an object in `request.session`.
 * @returns what gives the object that id and those attributes as its own, where the session has gone on without it
 */
export type Detach = () => () => void;

/** Members that @fastify/session does not have: an application that keeps attributes of these names goes on doing so. */
const ownMembers: ReadonlySet<string> = new Set(["lock", "release", "isLocked"]);

const owner = Symbol("msm.owner");

interface Members {
  readonly [owner]: SessionOwner;
}

/** Makes an object for `request.session`: the attributes, and the members of @fastify/session's. */
export function createView(own: SessionOwner): { view: FastifySessionObject; detach: Detach } {
  const members = Object.create(prototype) as Members;
  Object.defineProperty(members, owner, { value: own });
  Object.defineProperty(members, "cookie", cookieMember);
  const view = own.session.attributesWith(members, ownMembers) as unknown as FastifySessionObject;
  const detach = () => {
    const { id, attributes } = own.session;
    const { cookie: _, ...kept }: Attributes = { ...attributes };
    return () => {
      Object.defineProperty(members, "sessionId", { value: id, configurable: true });
      Object.assign(members, kept);
    };
  };
  return { view, detach };
}

/** Own and enumerable, as @fastify/session's: copies of a session have it. */
const cookieMember: PropertyDescriptor = {
  get(this: Members): SessionCookie {
    return this[owner].currentCookie;
  },
  set(this: Members, cookie: SessionCookie) {
    this[owner].currentCookie = cookie;
  },
  enumerable: true,
  configurable: true,
};

const prototype: object = Object.create(Object.prototype, {
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
});

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
