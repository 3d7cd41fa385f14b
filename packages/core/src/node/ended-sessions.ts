/** How many ends are remembered. A request that has not ended after so many log-outs is not protected from. */
const mostEnded = 10_000;

/**
 * Remembers sessions that ended in this process, so that a request which had one before does not store it again: for
 * stores that have no means against that themselves.
 */
export class EndedSessions {
  /** When each session ended; infinite while its end is under way. */
  readonly #ends = new Map<string, number>();
  #now = 0;

  /** A moment: sessions that are read from now on come after all ends so far. */
  moment(): number {
    return ++this.#now;
  }

  /** The end of a session begins: nobody may save it from now on. */
  begin(id: string): void {
    this.#ends.delete(id);
    this.#ends.set(id, Number.POSITIVE_INFINITY);
    const [oldest] = this.#ends.keys();
    if (this.#ends.size > mostEnded && oldest !== undefined) this.#ends.delete(oldest);
  }

  /** The session is gone. */
  finish(id: string): void {
    if (this.#ends.get(id) === Number.POSITIVE_INFINITY) this.#ends.set(id, this.moment());
  }

  /** The session did not end after all, or another one begins under its id. */
  forget(id: string): void {
    this.#ends.delete(id);
  }

  /** True where the session ended, or is about to, after that moment. */
  hasEnded(id: string, since: number): boolean {
    const end = this.#ends.get(id);
    return end !== undefined && end > since;
  }
}
