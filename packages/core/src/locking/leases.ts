import type { Clock } from "../clock.js";
import { LinkedList } from "../linked-list.js";
import { randomText } from "../random-text.js";
import type { SessionIdentity } from "../session/session-id.js";
import type { Lease } from "../storage/storage.js";
import { type HandedOver, LeasedLock, type LeasedLockParts, type LeasePlace } from "./leased-lock.js";
import { LockQueue, type QueueLimits } from "./lock-queue.js";
import type { SessionLock } from "./session-lock.js";
import { type Waiting, waitUntil } from "./waiting.js";

/** What came of trying to load a session together with its lease. */
export type LeaseAttempt<F> =
  | {
      readonly kind: "taken";
      readonly found: F;
      readonly place: LeasePlace;
      /** Whether another process waits for the lease. */
      readonly isWanted: boolean;
    }
  /** There is no session, and so no lease. */
  | { readonly kind: "nothing"; readonly found: F }
  | Refused;

/** Another process has the lease. */
export interface Refused {
  readonly kind: "refused";
  /** The lease ends by itself by then, unless it is renewed. */
  readonly retryAfterMs: number;
  /** Calls `listener` when the lease was given back; may miss it. @returns what ends that */
  onRelease(listener: () => void): () => void;
}

/** What was loaded, and the lock on it; none where there is no session. */
export interface Leased<F> {
  readonly found: F;
  readonly lock: SessionLock | undefined;
}

export interface LeasesOptions {
  readonly leaseTtlMs: number;
  readonly maxLeaseMs: number;
}

export interface LeasesParts {
  readonly clock: Clock;
  /** Random numbers from 0 to below 1, which keep processes that wait from asking in step. */
  readonly random: () => number;
  readonly limits?: QueueLimits;
  /** Told of each lease that ended before its holder let go of it, with the session's name. */
  readonly onLost: (session: string, heldMs: number) => void;
}

/** First and longest pause between two tries; each is twice the one before, less up to half of it at random. */
const firstPauseMs = 2;
const longestPauseMs = 40;

/**
 * The leases of one process. Its own requests of a session stand in one line, so that a node is asked by no more than
 * one of them; the lease goes from one to the next without being given back, as long as no other process is kept
 * waiting by that (see `LeasedLock`).
 */
export class Leases {
  readonly #options: LeasesOptions;
  readonly #parts: LeasesParts;
  readonly #queue: LockQueue<HandedOver>;
  /** Those that are held, or on their way back. */
  readonly #locks = new LinkedList<LeasedLock>();
  readonly #lockParts: LeasedLockParts;

  constructor(options: LeasesOptions, parts: LeasesParts) {
    this.#options = options;
    this.#parts = parts;
    this.#queue = new LockQueue(parts.clock, parts.limits);
    const { clock, onLost } = parts;
    this.#lockParts = { clock, options, onLost, onOver: (lock) => this.#locks.remove(lock) };
  }

  /** How many requests wait in line in this process. */
  get waiting(): number {
    return this.#queue.waiting;
  }

  /** Gives back what is held, and resolves when all of it is back, or cannot be given back. */
  async giveBack(): Promise<void> {
    while (this.#locks.first !== undefined)
      await Promise.all(Array.from(this.#locks, (lock) => lock.release()));
  }

  /**
   * Waits for the lease of a session, and loads the session with it.
   * @param load one try; with the same token again where the lease may be ours already
   * @throws MsmError MSM_ERR_LOCK_TIMEOUT, MSM_ERR_LOCK_QUEUE_FULL, MSM_ERR_ABORTED, or what `load` throws
   */
  async take<F>(
    { digest, name }: SessionIdentity,
    waiting: Waiting,
    load: (lease: Lease) => Promise<LeaseAttempt<F>>,
  ): Promise<Leased<F>> {
    const entering = this.#queue.enter(digest, waiting);
    const turn = entering instanceof Promise ? await entering : entering;
    const lease = new OwnLease(turn.inherited?.token ?? newToken(), this.#options.leaseTtlMs);
    let attempt: LeaseAttempt<F>;
    try {
      // The one before gave the lease back for the sake of other processes, which try meanwhile.
      const givesWayMs = turn.inherited?.givesWayMs;
      if (givesWayMs !== undefined) await this.#pause(givesWayMs, waiting);
      attempt = await load(lease);
      if (attempt.kind === "refused") attempt = await this.#tryAgain(attempt, lease, waiting, load);
    } catch (error) {
      turn.pass();
      // It may be ours all the same: the reply was lost, or the one before left it to us.
      void turn.inherited?.place?.unlock(lease.token).catch(() => {});
      throw error;
    }
    if (attempt.kind === "nothing") {
      turn.pass();
      return { found: attempt.found, lock: undefined };
    }
    const lock = new LeasedLock(name, lease, attempt, turn, this.#lockParts);
    this.#locks.append(lock);
    return new WithLease(attempt.found, lock);
  }

  async #tryAgain<F>(
    refused: Refused,
    lease: Lease,
    waiting: Waiting,
    load: (lease: Lease) => Promise<LeaseAttempt<F>>,
  ): Promise<Exclude<LeaseAttempt<F>, Refused>> {
    const pauses = this.#pauses();
    const news = new ReleaseNews();
    let attempt: LeaseAttempt<F> = refused;
    try {
      for (;;) {
        if (attempt.kind !== "refused") return attempt;
        news.listen(attempt.onRelease);
        // Before its end nothing but a release can free the lease; but a release may be missed.
        if (!news.isThere) await this.#pause(Math.min(pauses.next(), attempt.retryAfterMs), waiting, news);
        news.forget();
        attempt = await load(lease);
      }
    } finally {
      news.stop();
    }
  }

  #pauses(): { next(): number } {
    let longestMs = firstPauseMs;
    return {
      next: () => {
        const pauseMs = longestMs * (1 - this.#parts.random() / 2);
        longestMs = Math.min(longestMs * 2, longestPauseMs);
        return pauseMs;
      },
    };
  }

  #pause(ms: number, waiting: Waiting, news?: ReleaseNews): Promise<void> {
    return waitUntil<void>(waiting, this.#parts.clock, (done) => {
      news?.wake(done);
      return this.#parts.clock.after(ms, done);
    });
  }
}

// Classes, see storage/answers.ts.

class OwnLease implements Lease {
  readonly token: string;
  readonly ttlMs: number;

  constructor(token: string, ttlMs: number) {
    this.token = token;
    this.ttlMs = ttlMs;
  }
}

class WithLease<F> implements Leased<F> {
  readonly found: F;
  readonly lock: SessionLock;

  constructor(found: F, lock: SessionLock) {
    this.found = found;
    this.lock = lock;
  }
}

/** Whether a lease was given back, as its node tells those who wait for it. */
class ReleaseNews {
  #stop: (() => void) | undefined;
  #wake = () => {};
  isThere = false;

  /** Listens from the first call on. */
  listen(onRelease: (listener: () => void) => () => void): void {
    this.#stop ??= onRelease(() => {
      this.isThere = true;
      this.#wake();
    });
  }

  /** Calls `wake` with the next news. */
  wake(wake: () => void): void {
    this.#wake = wake;
  }

  forget(): void {
    this.isThere = false;
  }

  stop(): void {
    this.#stop?.();
  }
}

/** 144 random bits: no two holders ever have the same. */
const newToken = () => randomText(18, "base64url");
