/** Who waits for the release of which lease. */
export class ReleaseListeners {
  readonly #byKey = new Map<string, Set<() => void>>();

  /** @returns what ends it; safe to call twice */
  add(key: string, listener: () => void): () => void {
    const listeners = this.#byKey.get(key) ?? new Set();
    this.#byKey.set(key, listeners);
    // One for each call, as the same function may listen twice.
    const entry = () => listener();
    listeners.add(entry);
    return () => {
      listeners.delete(entry);
      if (listeners.size === 0 && this.#byKey.get(key) === listeners) this.#byKey.delete(key);
    };
  }

  /** Calls the key's listeners, a moment later, so that whoever gave the lease back is not held up. */
  tell(key: string): void {
    for (const listener of this.#byKey.get(key) ?? []) {
      // What a listener throws is nobody's trouble here.
      Promise.resolve()
        .then(listener)
        .catch(() => undefined);
    }
  }

  get isEmpty(): boolean {
    return this.#byKey.size === 0;
  }

  clear(): void {
    this.#byKey.clear();
  }
}
