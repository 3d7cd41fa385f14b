import type { CommitOptions, CommitResult, SessionExchange } from "@msm/core";
import { type HoldOptions, holdResponse } from "@msm/core/node";
import type { Context } from "koa";
import type { OpenedSession } from "./opened-session.js";

/**
 * A session and the response that waits for it. The session is committed twice: when the handler is done, so that the
 * middlewares around us see what went wrong and may answer it, and when their answer goes out.
 */
export class HeldSession implements SessionExchange, HoldOptions {
  readonly session = undefined;
  readonly #ctx: Context;
  readonly #opened: OpenedSession;
  /** Undefined where there were none, as with most requests. */
  readonly #headersBefore: ReturnType<Context["res"]["getHeaders"]> | undefined;
  /** That the commit failed, and the middlewares around us were told: what they answer goes out as it is. */
  #isRefused = false;

  constructor(ctx: Context, opened: OpenedSession) {
    this.#ctx = ctx;
    this.#opened = opened;
    if (ctx.res.getHeaderNames().length > 0) this.#headersBefore = ctx.res.getHeaders();
  }

  /** Keeps the answer from the wire until the session is saved. */
  begin(): void {
    holdResponse(this.#ctx.res, this, this);
  }

  /** Koa's own way to answer an error: it tells the application, and honours the error's status and headers. */
  answerError(error: Error): void {
    this.#ctx.onerror(error);
  }

  /**
   * The handler is done. Throws or rejects where the session could not be saved: its answer is thrown away then.
   * @returns a promise only where something has to be waited for
   */
  settle(): undefined | Promise<void> {
    const { res, response, respond } = this.#ctx;
    // What the handler sends by itself is committed as it goes out, and cut off where that fails.
    if (respond === false || res.headersSent) return undefined;
    try {
      const settling = this.#opened.settle(isStream(response.body) ? goingOn : undefined);
      return settling instanceof Promise ? this.#settleLater(settling) : undefined;
    } catch (error) {
      throw this.#refused(error);
    }
  }

  async #settleLater(settling: Promise<void>): Promise<void> {
    try {
      await settling;
    } catch (error) {
      throw this.#refused(error);
    }
  }

  commit(options?: CommitOptions): CommitResult | Promise<CommitResult> {
    return this.#isRefused ? { outcome: "unneeded" } : this.#opened.commit(options);
  }

  cookie(): string | undefined {
    return this.#isRefused ? undefined : this.#opened.cookie();
  }

  end(): Promise<void> {
    return this.#opened.end();
  }

  #refused(error: unknown): unknown {
    this.#isRefused = true;
    this.#dropAnswer(error);
    return error;
  }

  /** So that nobody who catches the error and looks no further sends the handler's answer all the same. */
  #dropAnswer(error: unknown): void {
    const { res, response } = this.#ctx;
    for (const name of res.getHeaderNames()) res.removeHeader(name);
    response.body = null;
    const isHttpError = typeof error === "object" && error !== null && "status" in error;
    response.status = isHttpError && typeof error.status === "number" ? error.status : 500;
    for (const [name, value] of Object.entries(this.#headersBefore ?? {}))
      if (value !== undefined) res.setHeader(name, value);
  }
}

const goingOn: CommitOptions = { keepLease: true };

/** Its answer goes on while its handler is done. */
const isStream = (body: unknown): boolean =>
  typeof body === "object" && body !== null && "pipe" in body && typeof body.pipe === "function";
