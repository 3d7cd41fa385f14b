import type { OpenedSession } from "./opened-session.js";

/** Known to all copies of this package: an application may have one as an ES module and one in CommonJS. */
const openedKey = Symbol.for("msm.koa.opened");

interface SessionContext {
  [openedKey]?: OpenedSession | undefined;
}

/** The session that a middleware opened for this request; undefined where none did. */
export const openedFor = (ctx: object): OpenedSession | undefined => (ctx as SessionContext)[openedKey];

/** Notes which session a request has. */
export function attach(ctx: object, opened: OpenedSession): void {
  (ctx as SessionContext)[openedKey] = opened;
}

/**
 * Gives an application's contexts `session` and `sessionOptions`. As in koa-session, this is done once for each
 * application, and `session` can be replaced by tests.
 * @param beforeOpening what a request has for which no middleware opened a session yet
 */
export function extendContext(context: object, beforeOpening: () => OpenedSession): void {
  if (Object.hasOwn(context, openedKey)) return;

  const early = new WeakMap<object, OpenedSession>();
  const openedOf = (ctx: object): OpenedSession => {
    const opened = openedFor(ctx);
    if (opened !== undefined) return opened;
    const known = early.get(ctx) ?? beforeOpening();
    early.set(ctx, known);
    return known;
  };
  Object.defineProperties(context, {
    [openedKey]: { value: undefined, writable: true, configurable: true },
    session: {
      get(this: object) {
        return openedOf(this).current;
      },
      set(this: object, value: unknown) {
        openedOf(this).replace(value);
      },
      configurable: true,
    },
    sessionOptions: {
      get(this: object) {
        return openedOf(this).options;
      },
      configurable: true,
    },
  });
}
