/** How many sessions are remembered; what is forgotten is renewed once more. */
const mostRemembered = 50_000;

/** The rarest and the most frequent that rolling sessions are renewed by default. */
const defaultAfterMs = 60_000;
const shareOfAge = 10;

/**
 * Remembers when this process renewed each session, so that it does not do so with every request. A process that knows
 * nothing of a session renews it: never too seldom, at most once a process too often.
 */
export class Renewals {
  readonly #afterMs: number | undefined;
  readonly #renewedAtMs = new Map<string, number>();

  /** @param afterMs milliseconds; default: a tenth of the cookie's age, at most a minute */
  constructor(afterMs: number | undefined) {
    this.#afterMs = afterMs;
  }

  /** @param ageMs how long the session's cookie lasts; null: until the browser is closed */
  isDue(id: string, ageMs: number | null): boolean {
    const afterMs =
      this.#afterMs ?? (ageMs === null ? defaultAfterMs : Math.min(defaultAfterMs, ageMs / shareOfAge));
    const renewedAtMs = this.#renewedAtMs.get(id);
    return renewedAtMs === undefined || performance.now() - renewedAtMs >= afterMs;
  }

  /** The session was stored, or its cookie sent. */
  note(id: string): void {
    this.#renewedAtMs.delete(id);
    this.#renewedAtMs.set(id, performance.now());
    const [oldest] = this.#renewedAtMs.keys();
    if (this.#renewedAtMs.size > mostRemembered && oldest !== undefined) this.#renewedAtMs.delete(oldest);
  }

  /** The session has ended. */
  forget(id: string): void {
    this.#renewedAtMs.delete(id);
  }
}
