import type { SessionExchange } from "./exchange.js";

/** The exchanges that have begun and not ended, so that `close()` can wait for them. */
export class OpenExchanges {
  readonly #open = new Set<SessionExchange>();
  #allEnded: (() => void) | undefined;

  add(exchange: SessionExchange): void {
    this.#open.add(exchange);
  }

  remove(exchange: SessionExchange): void {
    this.#open.delete(exchange);
    if (this.#open.size === 0) this.#allEnded?.();
  }

  /** Resolves when none is open. */
  async ended(): Promise<void> {
    if (this.#open.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#allEnded = resolve;
    });
  }
}
