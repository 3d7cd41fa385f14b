import type { Click } from "./visitor.js";

/**
 * Holds the answers to the counter against each other. Every number must be the one before plus one; only a click that
 * was not answered may have counted or not, so that the next number may be one more for each of those.
 */
export class Tally {
  /** Clicks that were answered with a number. */
  counted = 0;
  /** Clicks that were not, with the reasons. */
  readonly unanswered: string[] = [];
  /** How many of the unanswered clicks turned out to have counted. */
  countedUnanswered = 0;
  /** The last number that was answered; -1 before the first. */
  last = -1;
  #open = 0;

  /** @throws Error where the number is not one that can be right */
  add(click: Click): void {
    if (click.kind === "unanswered") {
      this.unanswered.push(click.why);
      this.#open += 1;
      return;
    }
    const extra = click.counter - (this.last + 1);
    if (extra < 0 || extra > this.#open) {
      throw new Error(
        `${click.counter} after ${this.last}, with ${this.#open} unanswered clicks between them`,
      );
    }
    this.counted += 1;
    this.countedUnanswered += extra;
    this.last = click.counter;
    this.#open = 0;
  }

  /** In words, for the test's output. */
  toString(): string {
    const unanswered = `${this.unanswered.length} unanswered (${this.countedUnanswered} of them counted)`;
    const reasons = [...new Set(this.unanswered)].map((why) => `\n    ${why}`).join("");
    return `${this.counted} counts acknowledged, ${unanswered}${reasons}`;
  }
}
