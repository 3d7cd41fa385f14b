import type { Context } from "koa";

/** What koa-session tells the application of a session that could not be used. */
export interface UnusableSession {
  /** Its id, as the client named it. */
  readonly key: string | undefined;
  /** What was found. */
  readonly value: unknown;
  readonly ctx: Context;
}

/** Emits `session:missed`, `session:expired` or `session:invalid` on the application, after the current work as koa-session does. */
export function emitLater(
  ctx: Context,
  kind: "missed" | "expired" | "invalid",
  detail: UnusableSession,
): void {
  setImmediate(() => ctx.app.emit(`session:${kind}`, detail));
}
