const keptSamples = 20;

/**
 * Whether a node's answers take too long: more than half of the last 20 operations did. A single slow one says nothing,
 * and of fewer than 20 nothing is concluded.
 */
export class Latency {
  readonly #slow: boolean[] = [];
  #slowCount = 0;
  #next = 0;

  /** Notes one operation. @param isSlow whether it took too long */
  note(isSlow: boolean): void {
    if (this.#slow[this.#next] === true) this.#slowCount--;
    if (isSlow) this.#slowCount++;
    this.#slow[this.#next] = isSlow;
    this.#next = (this.#next + 1) % keptSamples;
  }

  get isSlow(): boolean {
    return this.#slow.length === keptSamples && this.#slowCount > keptSamples / 2;
  }

  /** What was noted says nothing about what comes now. */
  forget(): void {
    this.#slow.length = 0;
    this.#slowCount = 0;
    this.#next = 0;
  }
}
