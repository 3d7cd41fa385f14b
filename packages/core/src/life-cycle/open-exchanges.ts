/** Counts the exchanges that have begun and not ended, so that `close()` can wait for them. */
export class OpenExchanges {
  #open = 0;
  #allEnded: (() => void) | undefined;

  /** A request came, and its session is being looked for. */
  begin(): void {
    this.#open++;
  }

  /** A request that began is over, or was refused. */
  end(): void {
    this.#open--;
    if (this.#open === 0) this.#allEnded?.();
  }

  /** Resolves when none is open. */
  async ended(): Promise<void> {
    if (this.#open === 0) return;
    await new Promise<void>((resolve) => {
      this.#allEnded = resolve;
    });
  }
}
