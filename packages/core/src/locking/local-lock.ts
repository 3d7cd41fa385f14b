import type { Clock } from "../clock.js";
import type { Turn } from "./lock-queue.js";
import type { SessionLock } from "./session-lock.js";

/**
 * The lock of a session that lives in this process: a turn, and no lease.
 * @param maxHoldMs after which the next one is let in all the same
 * @param onLost called where that happens, with how long it was held
 */
export function localLock(
  turn: Turn<never>,
  maxHoldMs: number,
  clock: Clock,
  onLost: (heldMs: number) => void,
): SessionLock {
  let isHeld = true;
  const callOff = clock.after(maxHoldMs, () => {
    if (!isHeld) return;
    letGo();
    onLost(maxHoldMs);
  });

  function letGo(): void {
    isHeld = false;
    callOff();
    turn.pass();
  }
  return {
    get isHeld() {
      return isHeld;
    },
    tokenFor: () => undefined,
    noteGivenBack() {},
    async release() {
      letGo();
    },
  };
}
