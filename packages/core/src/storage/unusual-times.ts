/** What one that is unusual counts, against each that is usual: more than every fifth, and there are many of them. */
const weight = 4;

/** So that neither a few are taken for many, nor many that are long gone. */
const many = 4 * weight;
const most = 2 * many;

/** Whether of the records that were loaded of late many want another time to live than the usual one. */
export class UnusualTimes {
  #score = 0;

  get areMany(): boolean {
    return this.#score > many;
  }

  note(isUnusual: boolean): void {
    this.#score = isUnusual ? Math.min(this.#score + weight, most) : Math.max(this.#score - 1, 0);
  }
}
