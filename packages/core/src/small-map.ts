/** So many entries are looked through; for more there is an index. */
const mostWithoutIndex = 8;

class Entry<K, V> {
  readonly key: K;
  value: V;
  before: Entry<K, V> | undefined;
  behind: Entry<K, V> | undefined;
  isGone = false;

  constructor(key: K, value: V, before: Entry<K, V> | undefined) {
    this.key = key;
    this.value = value;
    this.before = before;
  }
}

/**
 * A map for few entries that takes a fraction of the memory of a `Map`, and lets go of it without making another table. Keeps
 * the order, as a `Map` does; entries may be deleted while somebody goes through it, but what is put in then need not
 * be seen. `NaN` is no key.
 */
export class SmallMap<K, V> implements ReadonlyMap<K, V> {
  size = 0;
  #first: Entry<K, V> | undefined;
  #last: Entry<K, V> | undefined;
  #index: Map<K, Entry<K, V>> | undefined;

  get(key: K): V | undefined {
    return this.#find(key)?.value;
  }

  has(key: K): boolean {
    return this.#find(key) !== undefined;
  }

  set(key: K, value: V): this {
    const entry = this.#find(key);
    if (entry === undefined) this.#append(key, value);
    else entry.value = value;
    return this;
  }

  /** @returns whether it was there */
  delete(key: K): boolean {
    const entry = this.#find(key);
    if (entry === undefined) return false;
    const { before, behind } = entry;
    if (before === undefined) this.#first = behind;
    else before.behind = behind;
    if (behind === undefined) this.#last = before;
    else behind.before = before;
    entry.isGone = true;
    this.#index?.delete(key);
    this.size--;
    return true;
  }

  forEach(run: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (let at = this.#first; at !== undefined; at = next(at)) run(at.value, at.key, this);
  }

  keys(): MapIterator<K> {
    return new EntryIterator(this.#first, keyIn);
  }

  values(): MapIterator<V> {
    return new EntryIterator(this.#first, valueIn);
  }

  entries(): MapIterator<[K, V]> {
    return new EntryIterator(this.#first, pairIn);
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }

  #find(key: K): Entry<K, V> | undefined {
    if (this.#index !== undefined) return this.#index.get(key);
    let entry = this.#first;
    while (entry !== undefined && entry.key !== key) entry = entry.behind;
    return entry;
  }

  #append(key: K, value: V): void {
    const entry = new Entry(key, value, this.#last);
    if (this.#last === undefined) this.#first = entry;
    else this.#last.behind = entry;
    this.#last = entry;
    this.size++;
    if (this.#index !== undefined) this.#index.set(key, entry);
    else if (this.size > mostWithoutIndex) this.#makeIndex();
  }

  #makeIndex(): void {
    this.#index = new Map();
    for (let at = this.#first; at !== undefined; at = at.behind) this.#index.set(at.key, at);
  }
}

/** The entry behind one that may have been deleted since. */
function next<K, V>(entry: Entry<K, V>): Entry<K, V> | undefined {
  let behind = entry.behind;
  while (behind?.isGone === true) behind = behind.behind;
  return behind;
}

const keyIn = <K, V>({ key }: Entry<K, V>): K => key;
const valueIn = <K, V>({ value }: Entry<K, V>): V => value;
const pairIn = <K, V>({ key, value }: Entry<K, V>): [K, V] => [key, value];

class EntryIterator<K, V, T> implements MapIterator<T> {
  #at: Entry<K, V> | undefined;
  readonly #pick: (entry: Entry<K, V>) => T;
  #hasBegun = false;

  constructor(first: Entry<K, V> | undefined, pick: (entry: Entry<K, V>) => T) {
    this.#at = first;
    this.#pick = pick;
  }

  next(): IteratorResult<T, undefined> {
    if (this.#hasBegun && this.#at !== undefined) this.#at = next(this.#at);
    this.#hasBegun = true;
    return this.#at === undefined
      ? { done: true, value: undefined }
      : { done: false, value: this.#pick(this.#at) };
  }

  [Symbol.iterator](): this {
    return this;
  }
}
