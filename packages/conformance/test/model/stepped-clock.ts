import type { Clock } from "@msm/core";

/** A clock that stands still, and goes on from one instant at which a timer is due to the next. */
export interface SteppedClock extends Clock {
  /** When the next timer is due, in monotonic milliseconds; infinity where there is none. */
  nextDueMs(): number;
  /** Goes on to `ms` (monotonic), which no timer may be due before, and runs the timers that are due then. */
  goTo(ms: number): void;
}

/** Makes such a clock. Timers of one instant run together, as after a short pause of the process. */
export function steppedClock(startMs = 1_700_000_000_000): SteppedClock {
  let passedMs = 0;
  const timers = new Set<{ readonly atMs: number; readonly run: () => void }>();

  return {
    now: () => startMs + passedMs,
    monotonicMs: () => passedMs,
    after(delayMs, run) {
      const timer = { atMs: passedMs + delayMs, run };
      timers.add(timer);
      return () => {
        timers.delete(timer);
      };
    },
    nextDueMs() {
      let nextMs = Number.POSITIVE_INFINITY;
      for (const { atMs } of timers) nextMs = Math.min(nextMs, atMs);
      return nextMs;
    },
    goTo(ms) {
      passedMs = Math.max(passedMs, ms);
      for (const timer of [...timers]) {
        if (timer.atMs > passedMs || !timers.delete(timer)) continue;
        timer.run();
      }
    },
  };
}

/** Resolves when nothing is left to do but what waits for a timer or for another step. */
export const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
