import { inspect } from "node:util";
import { type MemberRules, MsmError, type RegenerateOptions } from "@msm/core";
import type { Session } from "koa-session";
import type { MaxAge } from "./opened-session.js";

/** What the members of `ctx.session` do, wherever the session is stored. */
export interface SessionOwner {
  readonly isNew: boolean;
  readonly externalKey: string | undefined;
  maxAge: MaxAge;
  readonly isLocked: boolean;
  /** Stores the session, whatever is in it and whether it changed or not. */
  save(): Promise<void>;
  regenerate(options?: RegenerateOptions): Promise<void>;
  /** Stores the session where it changed. */
  commitNow(): Promise<void>;
  destroy(): Promise<void>;
  lock(): Promise<void>;
  release(): Promise<void>;
}

/** Leads from an object in `ctx.session` to what is behind it. */
export const ownerKey = Symbol("msm.owner");

interface Members {
  readonly [ownerKey]: SessionOwner;
}

type Callback = (error?: unknown) => void;

/** What koa-session's `commit(options)` takes. */
interface KoaCommitOptions {
  readonly save?: boolean;
  readonly regenerate?: boolean;
}

/** Makes an object with koa-session's members, none of them its own. */
export function createSessionObject(owner: SessionOwner): Session {
  return Object.defineProperty(Object.create(sessionMembers), ownerKey, { value: owner }) as Session;
}

/** What is behind an object in `ctx.session`; undefined where it is none of ours, as in a test that replaced it. */
export const ownerOf = (session: object): SessionOwner | undefined =>
  ownerKey in session ? (session as Members)[ownerKey] : undefined;

/** The values of a session: not its members, and as in koa-session, neither functions nor what begins with `_`. */
export function valuesOf(session: object): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(session)) {
    if (!isPrivate(name) && typeof value !== "function") values[name] = value;
  }
  return values;
}

/** koa-session does not store these. */
export const isPrivate = (name: string): boolean => name.startsWith("_");

/** How members and values get along where msm keeps the session. */
export const memberRules: MemberRules = {
  // koa-session does not have them: an application that keeps values of these names goes on doing so.
  yielding: new Set(["destroy", "lock", "release", "isLocked"]),
  // They are this request's, and other requests do not see them.
  isOwn: isPrivate,
};

/** koa-session's members, for objects that have an owner. */
export const sessionMembers: object = Object.create(Object.prototype, {
  ...getter("isNew", (owner) => owner.isNew),
  ...getter("externalKey", (owner) => owner.externalKey),
  ...getter("isLocked", (owner) => owner.isLocked),
  maxAge: {
    get(this: Members) {
      return this[ownerKey].maxAge;
    },
    set(this: Members, value: MaxAge) {
      this[ownerKey].maxAge = value;
    },
    configurable: true,
  },
  // Who took it for a value would lose the members, and with them what the session holds.
  ["__proto__"]: {
    get(this: object) {
      return Object.getPrototypeOf(this);
    },
    set() {
      throw new MsmError("MSM_ERR_ATTRIBUTE_NAME", 'a session cannot have a value with the name "__proto__"');
    },
    configurable: true,
  },
  length: {
    get(this: Members) {
      return Object.keys(valuesOf(this)).length;
    },
    configurable: true,
  },
  populated: {
    get(this: Members) {
      return Object.keys(valuesOf(this)).length > 0;
    },
    configurable: true,
  },
  toJSON: described(function (this: Members) {
    return valuesOf(this);
  }),
  [inspect.custom]: described(function (this: Members) {
    return valuesOf(this);
  }),
  ...asynchronous("save", (owner) => owner.save()),
  ...asynchronous("regenerate", (owner, options) => owner.regenerate(options)),
  ...asynchronous("manuallyCommit", (owner) => owner.commitNow()),
  ...asynchronous("commit", (owner, { save, regenerate }: KoaCommitOptions & RegenerateOptions = {}) => {
    if (regenerate === true) return owner.regenerate();
    return save === true ? owner.save() : owner.commitNow();
  }),
  ...asynchronous("destroy", (owner) => owner.destroy()),
  ...asynchronous("lock", (owner) => owner.lock()),
  ...asynchronous("release", (owner) => owner.release()),
});

function getter(name: string, read: (owner: SessionOwner) => unknown): PropertyDescriptorMap {
  return {
    [name]: {
      get(this: Members) {
        return read(this[ownerKey]);
      },
      configurable: true,
    },
  };
}

/** As in koa-session: a promise, or where there is a callback, undefined. The callback may come first or second. */
function asynchronous(
  name: string,
  run: (owner: SessionOwner, options?: RegenerateOptions) => Promise<void>,
): PropertyDescriptorMap {
  return {
    [name]: described(function (this: Members, first?: RegenerateOptions | Callback, second?: Callback) {
      const callback = typeof first === "function" ? first : second;
      const done = run(this[ownerKey], typeof first === "function" ? undefined : first);
      if (callback === undefined) return ignorable(done);
      // On the next tick, so that what a callback throws is an exception and not a promise that nobody holds.
      done.then(
        () => process.nextTick(callback),
        (error) => process.nextTick(callback, error),
      );
      return undefined;
    }),
  };
}

/**
 * Applications call `ctx.session.save()` and look no further. Its rejection must not end their process: the commit at
 * the end of the request meets the same trouble, and reports it.
 */
function ignorable(promise: Promise<void>): Promise<void> {
  promise.catch(() => {});
  return promise;
}

function described(value: unknown): PropertyDescriptor {
  return { value, writable: true, configurable: true };
}
