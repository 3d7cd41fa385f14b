import { MsmError } from "../errors.js";

/**
 * Runs an operation that must settle within `timeoutMs` milliseconds.
 *
 * @param onTimeout called with the error after which nobody waits any more; has to end whatever still runs
 * @throws MsmError MSM_ERR_STORAGE_TIMEOUT where the time is over; else what `run` rejects with
 */
export function withDeadline<T>(
  what: string,
  timeoutMs: number,
  run: () => Promise<T>,
  onTimeout: (error: MsmError) => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let isSettled = false;
    const expire = () => {
      if (isSettled) return;
      const error = new MsmError("MSM_ERR_STORAGE_TIMEOUT", `${what} took longer than ${timeoutMs} ms`);
      reject(error);
      onTimeout(error);
    };
    // After a pause of this process timers come first, and the reply may lie in the socket already. The step through
    // setImmediate lets it be read before anybody is blamed.
    const timer = setTimeout(() => setImmediate(expire), timeoutMs);
    const settle = () => {
      isSettled = true;
      clearTimeout(timer);
    };
    run().then(
      (value) => {
        settle();
        resolve(value);
      },
      (thrown) => {
        settle();
        reject(thrown);
      },
    );
  });
}
