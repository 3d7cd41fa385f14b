/** Where msm reads the time and sets its timers, so that a test can turn an hour on without waiting. */
export interface Clock {
  /** Wall-clock time in milliseconds since 1970; for what other machines read. */
  now(): number;
  /** Milliseconds that only ever grow; for durations, unharmed by a step of the wall clock. */
  monotonicMs(): number;
  /** Calls `run` once after `delayMs`; never keeps the process alive by itself. Returns what calls it off. */
  after(delayMs: number, run: () => void): () => void;
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
