/**
 * Asks again and again until the answer is true. For what nothing announces; where there is an event, await that.
 * @throws Error that names `what` where it is not true within `timeoutMs` milliseconds, default 10,000
 */
export async function waitUntil(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  { timeoutMs = 10_000, everyMs = 10 }: { timeoutMs?: number; everyMs?: number } = {},
): Promise<void> {
  const startedMs = performance.now();
  while (!(await isTrue())) {
    if (performance.now() - startedMs > timeoutMs) throw new Error(`not so after ${timeoutMs} ms: ${what}`);
    await pause(everyMs);
  }
}

/** Lets `ms` milliseconds pass: for the length of a fault or a TTL, never in place of an event. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
