import type { Clock } from "../clock.js";
import { MsmError } from "../errors.js";

/** A request that may have to wait for its session. */
export interface Waiting {
  /** Monotonic milliseconds from which on it waits no more. */
  readonly untilMs: number;
  /**
   * Calls `listener` when nobody wants the answer any more, as the client went away; undefined where that cannot happen.
   * @returns what ends the subscription
   */
  readonly onClose?: ((listener: () => void) => () => void) | undefined;
}

/** Begins to wait now, for `limitMs`. */
export const waitingFor = (limitMs: number, clock: Clock, onClose?: Waiting["onClose"]): Waiting => ({
  untilMs: clock.monotonicMs() + limitMs,
  onClose,
});

/**
 * Resolves when `begin` calls what it is given.
 * @param begin starts what is waited for. @returns what calls it off; it is called however the waiting ends
 * @throws MsmError MSM_ERR_LOCK_TIMEOUT at `untilMs`, MSM_ERR_ABORTED where the client goes away
 */
export function waitUntil<T>(
  { untilMs, onClose }: Waiting,
  clock: Clock,
  begin: (done: (value: T) => void) => () => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const ends: (() => void)[] = [];
    const finish = (settle: () => void) => {
      for (const end of ends.splice(0)) end();
      settle();
    };
    const leftMs = Math.max(0, untilMs - clock.monotonicMs());
    ends.push(
      clock.after(leftMs, () => finish(() => reject(lockTimeout()))),
      begin((value) => finish(() => resolve(value))),
    );
    if (onClose !== undefined) ends.push(onClose(() => finish(() => reject(aborted()))));
  });
}

const lockTimeout = () =>
  new MsmError("MSM_ERR_LOCK_TIMEOUT", "other requests of the session took longer than lockTimeoutMs");

const aborted = () =>
  new MsmError("MSM_ERR_ABORTED", "the client went away while its request waited for its session");
