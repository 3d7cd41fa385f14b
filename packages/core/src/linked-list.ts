/** Something that can be in one `LinkedList` at a time. */
export class Linked {
  declare before: Linked | undefined;
  declare behind: Linked | undefined;

  // Assigned, and not initialized as fields are: with each heir, that costs a call of its own.
  constructor() {
    this.before = undefined;
    this.behind = undefined;
  }
}

/**
 * Things in the order in which they were put in, for what comes and goes with each request: putting in and taking out cost
 * next to nothing, and nothing is left of either. A `Set` makes a new table whenever the old one is full of what is gone, and
 * the old one leads to it: once one of them is old, V8's small collections keep all that come behind it, with what is in them
 * at the time.
 */
export class LinkedList<T extends Linked> implements Iterable<T> {
  #first: T | undefined;
  #last: T | undefined;

  /** What was put in before all others. */
  get first(): T | undefined {
    return this.#first;
  }

  /** Puts in, behind all others, what is in no list. */
  append(item: T): void {
    item.before = this.#last;
    if (this.#last === undefined) this.#first = item;
    else this.#last.behind = item;
    this.#last = item;
  }

  /** Takes it out, where it is in. */
  remove(item: T): void {
    const { before, behind } = item;
    if (before !== undefined) before.behind = behind;
    else if (this.#first === item) this.#first = behind as T | undefined;
    if (behind !== undefined) behind.before = before;
    else if (this.#last === item) this.#last = before as T | undefined;
    item.before = undefined;
    item.behind = undefined;
  }

  /** What is looked at may be taken out meanwhile, but not what stands behind it. */
  *[Symbol.iterator](): Iterator<T> {
    for (let item = this.#first; item !== undefined; ) {
      const behind = item.behind as T | undefined;
      yield item;
      item = behind;
    }
  }
}
