import type { Clock } from "./clock.js";

/** Waits for something, but no longer than `limitMs`. Rejects as it does. */
export async function within(limitMs: number, clock: Clock, work: Promise<unknown>): Promise<void> {
  let callOff = () => {};
  const limit = new Promise<void>((resolve) => {
    callOff = clock.after(limitMs, resolve);
  });
  try {
    await Promise.race([work, limit]);
  } finally {
    callOff();
  }
}
