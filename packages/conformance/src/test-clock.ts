import type { Clock } from "@msm/core";

/** A clock that stands still until a test turns it. */
export interface TestClock extends Clock {
  /** Lets `ms` pass: timers that become due run in their order, and promises settle in between. */
  turn(ms: number): Promise<void>;
}

/** Makes a clock that a test turns by hand. */
export function testClock(startMs = 1_700_000_000_000): TestClock {
  let passedMs = 0;
  let timers: { atMs: number; run: () => void }[] = [];
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

  return {
    now: () => startMs + passedMs,
    monotonicMs: () => passedMs,
    after(delayMs, run) {
      const timer = { atMs: passedMs + delayMs, run };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    async turn(ms) {
      const endMs = passedMs + ms;
      for (;;) {
        await settle();
        const due = timers.filter((timer) => timer.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
        if (due === undefined) break;
        timers = timers.filter((timer) => timer !== due);
        passedMs = Math.max(passedMs, due.atMs);
        due.run();
      }
      passedMs = endMs;
      await settle();
    },
  };
}
