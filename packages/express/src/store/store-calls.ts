import { MsmError } from "@msm/core";

/** What a store calls back with. */
export type StoreCallback<T = unknown> = (error?: unknown, value?: T) => void;

/**
 * Calls a store, whatever kind it is: what it throws, at once or as a promise that rejects, is an error like one that it
 * calls back with, and `done` is called once. What `done` throws is an uncaught exception.
 * @param verb the store's method, for the message
 * @param timeoutMs how long it may take; then `done` gets MSM_ERR_STORAGE_TIMEOUT
 */
export function callStore<T>(
  verb: string,
  timeoutMs: number,
  run: (callback: StoreCallback<T>) => unknown,
  done: StoreCallback<T>,
): void {
  let isSettled = false;
  const settle: StoreCallback<T> = (...results) => {
    if (isSettled) return;
    isSettled = true;
    clearTimeout(timer);
    try {
      done(...results);
    } catch (error) {
      // Thrown here, it would go to the store, which may take it for an error of its own.
      process.nextTick(() => {
        throw error;
      });
    }
  };
  const fail = (error: unknown) =>
    settle(error ?? new Error(`the session store's ${verb}() failed without a reason`));
  const timer = setTimeout(() => settle(silentError(verb, timeoutMs)), timeoutMs);
  timer.unref();

  try {
    const returned = run(settle);
    if (isPromise(returned)) returned.then(undefined, fail);
  } catch (error) {
    fail(error);
  }
}

/** As `callStore`, as a promise. */
export function askStore<T>(
  verb: string,
  timeoutMs: number,
  run: (callback: StoreCallback<T>) => unknown,
): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    callStore<T>(verb, timeoutMs, run, (error, value) => (error ? reject(error) : resolve(value)));
  });
}

const silentError = (verb: string, timeoutMs: number) =>
  new MsmError(
    "MSM_ERR_STORAGE_TIMEOUT",
    `the session store's ${verb}() did not call back within ${timeoutMs} ms (storeTimeoutMs)`,
  );

const isPromise = (value: unknown): value is Promise<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
