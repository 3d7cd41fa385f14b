import type { CommitOptions, SessionExchange } from "@msm/core";
import type { Session } from "koa-session";

/** How long a session's cookie lasts, as koa-session says it: milliseconds, or until the browser is closed. */
export type MaxAge = number | "session" | undefined;

/** What stands behind `ctx.session` of one request, wherever sessions are stored; and the exchange for its response. */
export interface OpenedSession extends SessionExchange {
  /** What `ctx.session` gives; null where the request has no session. */
  readonly current: Session | null;
  /** What `ctx.sessionOptions` gives. */
  readonly options: ShownOptions;
  /** What `ctx.session = value` does. @throws Error where the value is neither null nor an object */
  replace(value: unknown): void;
  /**
   * As `commit()`, for the middlewares around us: throws or rejects with what went wrong, as it was thrown.
   * @returns a promise only where something has to be waited for
   */
  settle(options?: CommitOptions): void | Promise<void>;
}

/** What koa-session's `ctx.sessionOptions` is used for: a look at the options, and the age of this session's cookie. */
export interface ShownOptions {
  maxAge: MaxAge;
  readonly [name: string]: unknown;
}

/** koa-session's words, which tests of applications know. */
export const notAnObject = (): Error => new Error("this.session can only be set as null or an object.");
