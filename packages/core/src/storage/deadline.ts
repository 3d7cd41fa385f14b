import { MsmError } from "../errors.js";

/** A timer that fires so late was held up by this process, which then could not have read a reply either. */
const heldUpMs = 100;

/** How often an operation gets its time anew. A process that is never in time must give up at some point, too. */
const mostRenewals = 3;

/**
 * Runs an operation that must settle within `timeoutMs` milliseconds. Time in which this process stood still counts for
 * little: what takes several round trips may have some of them still to go, and no node is to blame for that.
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
    let timer = arm(mostRenewals);
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

    function arm(renewals: number): NodeJS.Timeout {
      const dueMs = performance.now() + timeoutMs;
      return setTimeout(() => {
        const isHeldUp = performance.now() - dueMs > heldUpMs;
        if (isHeldUp && renewals > 0) timer = arm(renewals - 1);
        // After a pause of this process timers come first, and the reply may lie in the socket already. The step through
        // setImmediate lets it be read before anybody is blamed.
        else setImmediate(expire);
      }, timeoutMs);
    }
  });
}
