import { Linked, LinkedList } from "./linked-list.js";

/** A power of two. Some hundred entries at a time leave one or two in each. */
const bucketCount = 256;

class Entry<V> extends Linked {
  readonly key: string;
  readonly value: V;

  constructor(key: string, value: V) {
    super();
    this.key = key;
    this.value = value;
  }
}

/**
 * A map for what comes and goes with each request, and is few at a time, under keys that are as good as random in their first
 * two characters. A `Map` would keep what is gone for longer, see `LinkedList`.
 */
export class BriefMap<V> {
  readonly #buckets: readonly LinkedList<Entry<V>>[] = Array.from(
    { length: bucketCount },
    () => new LinkedList<Entry<V>>(),
  );

  get(key: string): V | undefined {
    return this.#find(key)?.value;
  }

  /** Puts in what is not there yet. */
  add(key: string, value: V): void {
    this.#bucketOf(key).append(new Entry(key, value));
  }

  delete(key: string): void {
    const entry = this.#find(key);
    if (entry !== undefined) this.#bucketOf(key).remove(entry);
  }

  #find(key: string): Entry<V> | undefined {
    let entry = this.#bucketOf(key).first;
    while (entry !== undefined && entry.key !== key) entry = entry.behind as Entry<V> | undefined;
    return entry;
  }

  #bucketOf(key: string): LinkedList<Entry<V>> {
    return this.#buckets[(31 * key.charCodeAt(0) + key.charCodeAt(1)) & (bucketCount - 1)]!;
  }
}
