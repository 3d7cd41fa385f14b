/** Work that no request waits for: counted, so that `close()` can wait for it; its trouble is told by events elsewhere. */
export class Background {
  readonly #running = new Set<Promise<unknown>>();

  /** Starts work; a rejection ends it quietly, as whoever does the work has told of it. */
  run(work: () => Promise<unknown>): void {
    const running: Promise<unknown> = work()
      .catch(() => {}) // the node's watch and the commit have their events; nobody waits for this promise
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Resolves when nothing is running. */
  async drain(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}

/** Runs `work` for each item, at most `limit` at a time. One that rejects does not keep the others from running. */
export async function forEachLimited<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const worker = async () => {
    for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
      await work(next.value).catch(() => {}); // as in Background
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
}
