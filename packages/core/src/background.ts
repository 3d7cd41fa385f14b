import { Linked, LinkedList } from "./linked-list.js";

/** Work that is under way. */
class Work extends Linked {
  readonly done: Promise<unknown>;

  constructor(done: Promise<unknown>) {
    super();
    this.done = done;
  }
}

/** Work that no request waits for: counted, so that `close()` can wait for it; its trouble is told by events elsewhere. */
export class Background {
  readonly #running = new LinkedList<Work>();

  /** Starts work; a rejection ends it quietly, as whoever does the work has told of it. */
  run(start: () => Promise<unknown>): void {
    const work = new Work(start());
    this.#running.append(work);
    const end = () => this.#running.remove(work);
    work.done.then(end, end); // the node's watch and the commit have their events; nobody else hears of a rejection
  }

  /** Resolves when nothing is running. */
  async drain(): Promise<void> {
    while (this.#running.first !== undefined)
      await Promise.allSettled(Array.from(this.#running, ({ done }) => done));
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
