import type { Clock } from "../clock.js";
import { Linked, LinkedList } from "../linked-list.js";

/** Somebody who waits. */
class Wait extends Linked {
  /** Monotonic milliseconds. */
  readonly untilMs: number;
  readonly giveUp: (error: Error) => void;

  constructor(untilMs: number, giveUp: (error: Error) => void) {
    super();
    this.untilMs = untilMs;
    this.giveUp = giveUp;
  }
}

/** Those who wait with the same limit: who came first has to give up first. */
class Limit {
  readonly ms: number;
  readonly #clock: Clock;
  readonly #refusal: (limitMs: number) => Error;
  readonly #waits = new LinkedList<Wait>();
  #isWatched = false;

  constructor(ms: number, clock: Clock, refusal: (limitMs: number) => Error) {
    this.ms = ms;
    this.#clock = clock;
    this.#refusal = refusal;
  }

  begin(giveUp: (error: Error) => void): Wait {
    const wait = new Wait(this.#clock.monotonicMs() + this.ms, giveUp);
    this.#waits.append(wait);
    if (!this.#isWatched) this.#watch(this.ms);
    return wait;
  }

  end(wait: Wait): void {
    this.#waits.remove(wait);
  }

  #watch(forMs: number): void {
    this.#isWatched = true;
    this.#clock.after(forMs, () => this.#judge());
  }

  #judge(): void {
    const nowMs = this.#clock.monotonicMs();
    for (
      let { first } = this.#waits;
      first !== undefined && first.untilMs <= nowMs;
      { first } = this.#waits
    ) {
      this.#waits.remove(first);
      first.giveUp(this.#refusal(this.ms));
    }
    const { first } = this.#waits;
    if (first === undefined) this.#isWatched = false;
    else this.#watch(first.untilMs - nowMs);
  }
}

/** Lets nobody wait for longer than a limit: with one timer for all, as one for each costs more than what is waited for. */
export class WaitLimits {
  readonly #clock: Clock;
  readonly #refusal: (limitMs: number) => Error;
  #limit: Limit | undefined;

  /** @param refusal makes the error of a wait that was too long, for the limit that it had, in milliseconds */
  constructor(clock: Clock, refusal: (limitMs: number) => Error) {
    this.#clock = clock;
    this.#refusal = refusal;
  }

  /**
   * Waits for something, but no longer than `limitMs` milliseconds.
   * @throws what `refusal` makes where that is over; else as `work` rejects
   */
  within<T>(limitMs: number, work: Promise<T>): Promise<T> {
    const limit = this.#limitOf(limitMs);
    return new Promise((resolve, reject) => {
      const wait = limit.begin(reject);
      work.then(
        (result) => {
          limit.end(wait);
          resolve(result);
        },
        (thrown: unknown) => {
          limit.end(wait);
          reject(thrown);
        },
      );
    });
  }

  /** Where it changes, those that wait already keep theirs. */
  #limitOf(ms: number): Limit {
    if (this.#limit?.ms !== ms) this.#limit = new Limit(ms, this.#clock, this.#refusal);
    return this.#limit;
  }
}
