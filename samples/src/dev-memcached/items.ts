/** One stored value. */
export interface Item {
  readonly value: Buffer;
  /** Four bytes of the client's own, kept with the value. */
  readonly flags: number;
  /** Milliseconds since 1970 from which the item is gone; Infinity: never. */
  expiresAtMs: number;
  /** Changes with every write, and never comes back. */
  readonly cas: bigint;
}

// memcached takes up to 30 days as a time from now, and anything above as a date.
// https://github.com/memcached/memcached/wiki/Programming#expiration
const longestRelativeSeconds = 60 * 60 * 24 * 30;

/** The moment an expiry field speaks of: 0 never, up to 30 days from now, above that a date. */
function expiresAtMs(expirySeconds: number, nowMs: number): number {
  if (expirySeconds === 0) return Number.POSITIVE_INFINITY;
  return expirySeconds <= longestRelativeSeconds ? nowMs + expirySeconds * 1000 : expirySeconds * 1000;
}

/** The items of one server. Nothing is evicted: they go when they expire or are deleted. */
export class Items {
  readonly #items = new Map<string, Item>();
  readonly #now: () => number;
  #lastCas = 0n;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** The item, or undefined where there is none that is still alive. */
  get(key: string): Item | undefined {
    const item = this.#items.get(key);
    if (item === undefined || item.expiresAtMs > this.#now()) return item;
    this.#items.delete(key);
    return undefined;
  }

  /** Stores a value under a new CAS id. `expirySeconds` as in the protocol. */
  put(key: string, value: Buffer, flags: number, expirySeconds: number): Item {
    return this.#store(key, value, flags, expiresAtMs(expirySeconds, this.#now()));
  }

  /** Gives an item another value under a new CAS id; flags and expiry stay. */
  change(key: string, item: Item, value: Buffer): Item {
    return this.#store(key, value, item.flags, item.expiresAtMs);
  }

  /** Gives an item another expiry; its CAS id stays. */
  touch(item: Item, expirySeconds: number): void {
    item.expiresAtMs = expiresAtMs(expirySeconds, this.#now());
  }

  delete(key: string): void {
    this.#items.delete(key);
  }

  /** Deletes everything. */
  clear(): void {
    this.#items.clear();
  }

  /** Drops what has expired without being asked for since. @returns how many items are alive */
  sweep(): number {
    for (const key of this.#items.keys()) this.get(key);
    return this.#items.size;
  }

  #store(key: string, value: Buffer, flags: number, expiry: number): Item {
    this.#lastCas += 1n;
    // A copy: the value still lies in the buffer it was received in, which may be far larger.
    const item: Item = { value: Buffer.from(value), flags, expiresAtMs: expiry, cas: this.#lastCas };
    this.#items.set(key, item);
    return item;
  }
}
