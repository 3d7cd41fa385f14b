import { MsmError } from "../errors.js";
import type { Parts } from "../parts.js";
import type { SessionIdentity } from "../session/session-id.js";

/** What is done with a lock, and how it is done without one. */
export interface LockOrNot<T> {
  readonly identity: SessionIdentity;
  readonly wantsLock: boolean;
  locked(): Promise<T>;
  unlocked(): Promise<T>;
}

/**
 * Does something under the session's lock where that is wanted. What becomes of it where the lock could not be had in
 * time is `onLockTimeout`'s to say, and an event tells of it.
 * @throws MsmError MSM_ERR_LOCK_TIMEOUT under `onLockTimeout: "error"`
 */
export async function lockOrNot<T>(
  { identity, wantsLock, locked, unlocked }: LockOrNot<T>,
  { events, options }: Parts,
): Promise<T> {
  if (!wantsLock) return unlocked();
  try {
    return await locked();
  } catch (error) {
    if (!(error instanceof MsmError) || error.code !== "MSM_ERR_LOCK_TIMEOUT") throw error;
    const outcome = options.onLockTimeout === "optimistic" ? "optimistic" : "refused";
    events.emit("lockTimedOut", { session: identity.name, outcome });
    if (outcome === "refused") throw error;
    return unlocked();
  }
}
