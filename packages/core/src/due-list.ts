/** Something that is due at some time, in a `DueList`. */
export class Due {
  /** Monotonic milliseconds. */
  dueMs = 0;
  before: Due | undefined;
  behind: Due | undefined;
}

/** What is due when, the first first, where all have the same time: putting in and taking out cost next to nothing. */
export class DueList<T extends Due> {
  #first: T | undefined;
  #last: T | undefined;

  /** What is due first. */
  get first(): T | undefined {
    return this.#first;
  }

  /** Puts in what is due behind all others. */
  append(due: T, dueMs: number): void {
    due.dueMs = dueMs;
    due.before = this.#last;
    if (this.#last === undefined) this.#first = due;
    else this.#last.behind = due;
    this.#last = due;
  }

  /** Takes it out, where it is in. */
  remove(due: T): void {
    const { before, behind } = due;
    if (before !== undefined) before.behind = behind;
    else if (this.#first === due) this.#first = behind as T | undefined;
    if (behind !== undefined) behind.before = before;
    else if (this.#last === due) this.#last = before as T | undefined;
    due.before = undefined;
    due.behind = undefined;
  }
}
