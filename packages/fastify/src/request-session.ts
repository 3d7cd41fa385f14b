import type { SessionTarget } from "./sessions.js";

/** Where a request keeps what `request.session` gives: the thing itself, or what makes it. */
export const sessionSlot = Symbol("msm.session");

/** Makes what `request.session` gives when somebody looks at it: with many requests, nobody does. */
export abstract class SessionMaker {
  /** The same each time, until the session gets another. */
  abstract readonly view: unknown;
}

interface SlotHolder {
  [sessionSlot]?: unknown;
}

/** Stands for an empty object: what a request has that is to have no session, or none yet. */
const nothing = Symbol("msm.nothing");

/** Gives a request an empty object for a session. */
export function putNothing(request: object): void {
  (request as SlotHolder)[sessionSlot] = nothing;
}

/** How Fastify's requests have `session`. Each of them has a `sessionSlot`. */
export const sessionDecoration = {
  getter(this: SlotHolder): unknown {
    if (this[sessionSlot] === nothing) this[sessionSlot] = {};
    const held = this[sessionSlot];
    return held instanceof SessionMaker ? held.view : held;
  },
  setter(this: SlotHolder, value: unknown): void {
    this[sessionSlot] = value;
  },
};

/** Puts a session where it is asked for; what is no request of Fastify's gets the object itself. */
export function putSession(target: SessionTarget, maker: SessionMaker): void {
  if (sessionSlot in target) target[sessionSlot] = maker;
  else target.session = maker.view;
}

/** Whether nobody has put anything in the place of what `maker` makes, without making it. */
export function isUntouched(target: SessionTarget, maker: SessionMaker): boolean {
  return (target as SlotHolder)[sessionSlot] === maker;
}
