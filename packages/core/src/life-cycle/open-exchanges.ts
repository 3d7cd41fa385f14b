/** Counts the exchanges that have begun and not ended, so that whoever wants their end can wait for it. */
export class OpenExchanges {
  #open = 0;
  #waiters: (() => void)[] = [];

  /** A request came, and its session is being looked for. */
  begin(): void {
    this.#open++;
  }

  /** A request that began is over, or was refused. */
  end(): void {
    this.#open--;
    if (this.#open === 0) for (const goOn of this.#waiters.splice(0)) goOn();
  }

  /** Resolves when none is open. */
  async ended(): Promise<void> {
    if (this.#open === 0) return;
    await new Promise<void>((resolve) => {
      this.#waiters.push(resolve);
    });
  }
}
