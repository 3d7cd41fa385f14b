import type { Clock } from "@msm/core";

/**
 * What ties a process to the world: its clock, and its way to the nodes. Nothing comes through once it is cut. While it is
 * paused, as by a debugger or a move of its machine, none of its code runs; what was sent to it waits.
 */
export class ProcessLine {
  readonly clock: Clock;
  cut = false;
  /** How often a node has given this process a lease. */
  leasesTaken = 0;
  /** What is to be done once the process goes on; undefined while it runs. */
  #waiting: (() => void)[] | undefined;

  constructor(clock: Clock) {
    this.clock = {
      now: () => clock.now(),
      monotonicMs: () => clock.monotonicMs(),
      after: (delayMs, run) => this.#after(clock, delayMs, run),
    };
  }

  get isPaused(): boolean {
    return this.#waiting !== undefined;
  }

  pause(): void {
    this.#waiting ??= [];
  }

  resume(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const run of waiting) run();
  }

  /** Resolves when the process runs. */
  running(): Promise<void> {
    return new Promise((resolve) => this.#whenRunning(resolve));
  }

  #whenRunning(run: () => void): void {
    if (this.#waiting === undefined) run();
    else this.#waiting.push(run);
  }

  #after(clock: Clock, delayMs: number, run: () => void): () => void {
    let isOff = false;
    const callOff = clock.after(delayMs, () => this.#whenRunning(() => !isOff && run()));
    return () => {
      isOff = true;
      callOff();
    };
  }
}
