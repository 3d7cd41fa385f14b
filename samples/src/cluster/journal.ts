/** One line of what happened, as the page shows it. */
export interface JournalEntry {
  readonly id: number;
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly text: string;
  readonly tone: Tone;
  /** Who says so, e.g. ["app1", "app3"]. */
  readonly by: readonly string[];
}

/** "good": something works again. "trouble": something does not. "plain": worth knowing. */
export type Tone = "good" | "trouble" | "plain";

/** What a process has to tell. */
export interface News {
  readonly text: string;
  readonly tone: Tone;
}

const keptEntries = 100;
const sameNewsWithinMs = 10_000;

/** Remembers what happened last. */
export class Journal {
  #entries: JournalEntry[] = [];
  #lastId = 0;

  /** Adds a line; where another process has just said the same, adds the name to that line. */
  add(by: string, { text, tone }: News): void {
    const now = Date.now();
    const same = this.#entries.findIndex(
      (entry) => entry.text === text && now - entry.atMs < sameNewsWithinMs,
    );
    const before = this.#entries[same];
    if (before) {
      if (!before.by.includes(by)) this.#entries[same] = { ...before, by: [...before.by, by] };
      return;
    }
    this.#lastId += 1;
    this.#entries = [...this.#entries, { id: this.#lastId, atMs: now, text, tone, by: [by] }].slice(
      -keptEntries,
    );
  }

  /** The last 100 lines, the oldest first. */
  entries(): readonly JournalEntry[] {
    return this.#entries;
  }
}
