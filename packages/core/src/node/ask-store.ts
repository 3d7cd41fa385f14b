import { MsmError } from "../errors.js";

/** What a store of express-session's kind calls back with. */
export type StoreCallback<T = unknown> = (error?: unknown, value?: T) => void;

/**
 * Asks a store of express-session's kind, whatever it does: what it throws, at once or as a promise that rejects, is an
 * error like one that it calls back with.
 * @param verb the store's method, for the message
 * @param timeoutMs how long it may take
 * @returns what it calls back with. Rejects with its error as it is, and with MSM_ERR_STORAGE_TIMEOUT where it took too long
 */
export function askStore<T>(
  verb: string,
  timeoutMs: number,
  run: (callback: StoreCallback<T>) => unknown,
): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => settle(silentError(verb, timeoutMs)), timeoutMs);
    timer.unref();
    const settle: StoreCallback<T> = (error, value) => {
      clearTimeout(timer);
      if (error) reject(error);
      else resolve(value);
    };
    const fail = (error: unknown) =>
      settle(error ?? new Error(`the session store's ${verb}() failed without a reason`));

    try {
      const returned = run(settle);
      if (isPromise(returned)) returned.then(undefined, fail);
    } catch (error) {
      fail(error);
    }
  });
}

const silentError = (verb: string, timeoutMs: number) =>
  new MsmError(
    "MSM_ERR_STORAGE_TIMEOUT",
    `the session store's ${verb}() did not call back within ${timeoutMs} ms`,
  );

const isPromise = (value: unknown): value is Promise<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
