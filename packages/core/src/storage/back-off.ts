import { MsmError } from "../errors.js";

/** The second failure in a row; each further one waits twice as long. */
const shortestMs = 10;

/** So short that a server which is back is noticed soon, and so long that nobody opens thousands of connections a second. */
const longestMs = 100;

/**
 * How soon a connection is tried again. At once after one that worked; after one that did not, later and later. Who asks
 * in between is told at once what was wrong the last time.
 */
export class BackOff {
  #failures = 0;
  #untilMs = 0;
  #lastError: MsmError | undefined;

  /** Ends the wait: the connection works. */
  succeeded(): void {
    this.#failures = 0;
    this.#untilMs = 0;
  }

  /** The connection ended, or could not be had. */
  failed(error: MsmError, nowMs = performance.now()): void {
    this.#failures += 1;
    this.#lastError = error;
    if (this.#failures < 2) return;
    this.#untilMs = nowMs + Math.min(shortestMs * 2 ** (this.#failures - 2), longestMs);
  }

  /** What to reject with, where it is too early to try again; under the code of the failure before. */
  tooEarly(nowMs = performance.now()): MsmError | undefined {
    const leftMs = Math.ceil(this.#untilMs - nowMs);
    if (leftMs <= 0 || !this.#lastError) return undefined;
    const { code, message } = this.#lastError;
    const reason = message.replace(`${code}: `, "");
    return new MsmError(code, `not tried for ${leftMs} ms more: ${reason}`, { cause: this.#lastError });
  }
}
