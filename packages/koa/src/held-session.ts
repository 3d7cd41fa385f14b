import type { CommitOptions, CommitResult, SessionExchange } from "@msm/core";
import { holdResponse } from "@msm/core/node";
import type { Context } from "koa";
import type { OpenedSession } from "./opened-session.js";

/**
 * A session and the response that waits for it. The session is committed twice: when the handler is done, so that the
 * middlewares around us see what went wrong and may answer it, and when their answer goes out.
 */
export class HeldSession implements SessionExchange {
  readonly session = undefined;
  readonly #ctx: Context;
  readonly #opened: OpenedSession;
  readonly #headersBefore: ReturnType<Context["res"]["getHeaders"]>;
  /** That the commit failed, and the middlewares around us were told: what they answer goes out as it is. */
  #isRefused = false;

  constructor(ctx: Context, opened: OpenedSession) {
    this.#ctx = ctx;
    this.#opened = opened;
    this.#headersBefore = { ...ctx.res.getHeaders() };
  }

  /** Keeps the answer from the wire until the session is saved. */
  begin(): void {
    // Koa's own way to answer an error: it tells the application, and honours the error's status and headers.
    holdResponse(this.#ctx.res, this, { answerError: (error) => this.#ctx.onerror(error) });
  }

  /** The handler is done. Rejects where the session could not be saved: its answer is thrown away then. */
  async settle(): Promise<void> {
    const ctx = this.#ctx;
    // What the handler sends by itself is committed as it goes out, and cut off where that fails.
    if (ctx.respond === false || ctx.headerSent) return;
    try {
      await this.#opened.settle({ keepLease: isStream(ctx.body) });
    } catch (error) {
      this.#isRefused = true;
      this.#dropAnswer(error);
      throw error;
    }
  }

  async commit(options?: CommitOptions): Promise<CommitResult> {
    return this.#isRefused ? { outcome: "unneeded" } : this.#opened.commit(options);
  }

  cookie(): string | undefined {
    return this.#isRefused ? undefined : this.#opened.cookie();
  }

  end(): Promise<void> {
    return this.#opened.end();
  }

  /** So that nobody who catches the error and looks no further sends the handler's answer all the same. */
  #dropAnswer(error: unknown): void {
    const { res, response } = this.#ctx;
    for (const name of res.getHeaderNames()) res.removeHeader(name);
    response.body = null;
    const isHttpError = typeof error === "object" && error !== null && "status" in error;
    response.status = isHttpError && typeof error.status === "number" ? error.status : 500;
    for (const [name, value] of Object.entries(this.#headersBefore))
      if (value !== undefined) res.setHeader(name, value);
  }
}

/** Its answer goes on while its handler is done. */
const isStream = (body: unknown): boolean =>
  typeof body === "object" && body !== null && "pipe" in body && typeof body.pipe === "function";
