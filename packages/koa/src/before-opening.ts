import type { OpenedSession, ShownOptions } from "./opened-session.js";
import { notAnObject } from "./opened-session.js";
import { createSessionObject, type SessionOwner } from "./session-object.js";

/**
 * What `ctx.session` is where the session's middleware has not run: empty, new, and as in koa-session nothing of it is
 * kept. It gives way to the session as soon as the middleware runs.
 */
export function createBeforeOpening(options: ShownOptions): OpenedSession {
  const owner: SessionOwner = {
    isNew: true,
    externalKey: undefined,
    isLocked: false,
    get maxAge() {
      return options.maxAge;
    },
    set maxAge(maxAge) {
      options.maxAge = maxAge;
    },
    save: refuse,
    regenerate: refuse,
    commitNow: refuse,
    destroy: refuse,
    lock: refuse,
    release: refuse,
  };
  let current: OpenedSession["current"] = createSessionObject(owner);
  return {
    session: undefined,
    options,
    get current() {
      return current;
    },
    replace(value) {
      if (typeof value !== "object") throw notAnObject();
      current = value === null ? null : Object.assign(createSessionObject(owner), value);
    },
    settle: async () => {},
    commit: async () => ({ outcome: "unneeded" }),
    cookie: () => undefined,
    end: async () => {},
  };
}

async function refuse(): Promise<void> {
  throw new Error("ctx.session cannot be stored here: the session's middleware has not run for this request");
}

/** What a request has, with `onStorageError: "without-session"`, while its session cannot be read. */
export function createWithoutSession(options: ShownOptions): OpenedSession {
  return {
    session: undefined,
    options,
    current: null,
    replace(value) {
      if (value !== null) throw new Error("there is no session to assign to: its storage cannot be reached");
    },
    settle: async () => {},
    commit: async () => ({ outcome: "unneeded" }),
    cookie: () => undefined,
    end: async () => {},
  };
}
