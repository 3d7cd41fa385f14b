/** What @fastify/session's methods call back with. */
export type Callback = (error?: unknown) => void;

/** With a callback, gives nothing, as @fastify/session does; without one, the promise. */
export function callbackOrPromise(work: Promise<void>, callback: unknown): Promise<void> | undefined {
  if (typeof callback !== "function") return ignorable(work);
  const call = callback as Callback;
  // On the next tick, so that what a callback throws is an exception and not a promise that nobody holds.
  work.then(
    () => process.nextTick(call),
    (error: unknown) => process.nextTick(call, error),
  );
  return undefined;
}

/**
 * Applications call `request.session.save()` and look no further. Its rejection must not end their process: the commit at
 * the end of the response meets the same trouble, and reports it.
 */
function ignorable(promise: Promise<void>): Promise<void> {
  promise.catch(() => {});
  return promise;
}
