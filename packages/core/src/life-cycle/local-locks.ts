import { localLock } from "../locking/local-lock.js";
import { LockQueue } from "../locking/lock-queue.js";
import type { SessionLock } from "../locking/session-lock.js";
import { type Waiting, waitingFor } from "../locking/waiting.js";
import type { Parts } from "../parts.js";
import type { SessionIdentity } from "../session/session-id.js";
import type { SessionRequest } from "./exchange.js";
import type { LocalSession } from "./local-sessions.js";
import { lockOrNot } from "./lock-or-not.js";

/** A session that was found, and the lock on it. */
export interface LockedSession<S> {
  readonly session: S;
  readonly lock: SessionLock | undefined;
}

/** The locks of a process' own sessions: lines in its memory, which cost no I/O. */
export class LocalLocks {
  readonly #parts: Parts;
  readonly #queue: LockQueue;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#queue = new LockQueue(parts.clock);
  }

  /** How many requests wait. */
  get waiting(): number {
    return this.#queue.waiting;
  }

  /** Waits for the lock. @throws MsmError MSM_ERR_LOCK_TIMEOUT, MSM_ERR_LOCK_QUEUE_FULL, or MSM_ERR_ABORTED */
  async take({ digest, name }: SessionIdentity, waiting: Waiting): Promise<SessionLock> {
    const { clock, events, options } = this.#parts;
    const turn = await this.#queue.enter(digest, waiting);
    return localLock(turn, options.maxLeaseMs, clock, (heldMs) =>
      events.emit("leaseLost", { session: name, heldMs }),
    );
  }

  /** Looks for a session once the request has it to itself: who had it before may have ended it. */
  async takeAndFind<S extends Pick<LocalSession, "live">>(
    identity: SessionIdentity,
    find: () => Promise<S | undefined>,
    onClose?: SessionRequest["onClose"],
  ): Promise<LockedSession<S> | undefined> {
    const { clock, options } = this.#parts;
    const waiting = waitingFor(options.lockTimeoutMs, clock, onClose);
    return lockOrNot(
      {
        identity,
        wantsLock: true,
        locked: () => this.#lockAndFind(identity, find, waiting),
        unlocked: async () => unlocked(await find()),
      },
      this.#parts,
    );
  }

  async #lockAndFind<S extends Pick<LocalSession, "live">>(
    start: SessionIdentity,
    find: () => Promise<S | undefined>,
    waiting: Waiting,
  ): Promise<LockedSession<S> | undefined> {
    for (let identity = start; ; ) {
      const lock = await this.take(identity, waiting);
      const session = await find().catch(async (error: unknown) => {
        await lock.release();
        throw error;
      });
      if (session?.live.identity.id === identity.id) return { session, lock };
      await lock.release();
      if (session === undefined) return undefined;
      identity = session.live.identity; // it goes on under a new id
    }
  }
}

/** What a request without a lock has. */
export const unlocked = <S>(session: S | undefined): LockedSession<S> | undefined =>
  session && { session, lock: undefined };
