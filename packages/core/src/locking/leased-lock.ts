import type { Clock } from "../clock.js";
import { Linked } from "../linked-list.js";
import type { Lease } from "../storage/storage.js";
import type { Turn } from "./lock-queue.js";
import type { SessionLock } from "./session-lock.js";

/** Where a lease is, and what can be asked of it there. */
export interface LeasePlace {
  /** Id of the node that has it. */
  readonly node: string;
  /** @returns whether the token holds the lease, with a new time to live */
  renew(lease: Lease): Promise<boolean>;
  /** Frees the lease where the token holds it. */
  unlock(token: string): Promise<unknown>;
}

/** What one request leaves to the next of its process. */
export interface HandedOver {
  /** The token of the lease that is handed over; undefined where it was given back. */
  readonly token?: string;
  readonly place?: LeasePlace;
  /** How often it was handed over, and when the first of the process got it (monotonic milliseconds). */
  readonly times?: number;
  readonly sinceMs?: number;
  /** That it was given back so that other processes get it first, and how long it is left to them. */
  readonly givesWayMs?: number;
}

export interface LeasedLockParts {
  readonly clock: Clock;
  /** The longest that one request may hold it, however often it is renewed. May change: then for those that come. */
  readonly options: { readonly maxLeaseMs: number };
  /** Told once, with the session's name and how long it was held, where it ended before it was let go of. */
  readonly onLost: (session: string, heldMs: number) => void;
  /** Told once, when it has been given back, handed over or lost. */
  readonly onOver: (lock: LeasedLock) => void;
}

/** How often a lease is handed over in one process while another one waits for it. */
const mostHandOvers = 8;

/** How long a lease is left to other processes; the longest is the longest pause of those that ask, see `Leases`. */
const shortestGivesWayMs = 5;
const longestGivesWayMs = 40;

/**
 * A lease that a request holds. It is renewed at every third of its time to live. It ends by itself where it cannot be
 * renewed, or where another has it, and after `maxLeaseMs` in any case; what the request saves later is safe under
 * the version check alone.
 */
export class LeasedLock extends Linked implements SessionLock {
  readonly #session: string;
  readonly #lease: Lease;
  readonly #place: LeasePlace;
  readonly #isWanted: boolean;
  readonly #turn: Turn<HandedOver>;
  readonly #parts: LeasedLockParts;
  readonly #takenMs: number;
  readonly #maxLeaseMs: number;
  #confirmedMs: number;
  #isHeld = true;
  /** A save may have given it back already: then it is no loss. */
  #isBeingGivenBack = false;
  #releasing: Promise<void> | undefined;
  #stopTimer: () => void = () => {};

  /** @param session its name */
  constructor(
    session: string,
    lease: Lease,
    taken: { readonly place: LeasePlace; readonly isWanted: boolean },
    turn: Turn<HandedOver>,
    parts: LeasedLockParts,
  ) {
    super();
    this.#session = session;
    this.#lease = lease;
    this.#place = taken.place;
    this.#isWanted = taken.isWanted;
    this.#turn = turn;
    this.#parts = parts;
    this.#maxLeaseMs = parts.options.maxLeaseMs;
    this.#takenMs = parts.clock.monotonicMs();
    this.#confirmedMs = this.#takenMs;
    this.#renewLater();
  }

  get isHeld(): boolean {
    return this.#isHeld;
  }

  tokenFor(node: string): string | undefined {
    if (!this.#isHeld || node !== this.#place.node || this.#handsOver) return undefined;
    this.#isBeingGivenBack = true;
    return this.#lease.token;
  }

  noteGivenBack(): void {
    if (!this.#isHeld) return;
    this.#end();
    this.#giveWay();
    this.#parts.onOver(this);
  }

  release(): Promise<void> {
    this.#releasing ??= this.#letGo();
    return this.#releasing;
  }

  async #letGo(): Promise<void> {
    if (!this.#isHeld) return this.#parts.onOver(this);
    this.#end();
    if (this.#handsOver) {
      const { token } = this.#lease;
      this.#turn.pass({ token, place: this.#place, times: this.#times + 1, sinceMs: this.#sinceMs });
    } else {
      await this.#giveBack();
      this.#giveWay();
    }
    this.#parts.onOver(this);
  }

  #giveWay(): void {
    this.#turn.pass(this.#isWanted ? { givesWayMs: this.#givesWayMs } : undefined);
  }

  /**
   * Who hears of the release is quick. Others ask after pauses as long as they have waited, up to the longest: as long as
   * this process had the lease is long enough for most of them.
   */
  get #givesWayMs(): number {
    const heldMs = this.#parts.clock.monotonicMs() - this.#sinceMs;
    return Math.min(Math.max(heldMs, shortestGivesWayMs), longestGivesWayMs);
  }

  /** Whether the next request of this process gets the lease, rather than whoever asks the node first. */
  get #handsOver(): boolean {
    if (!this.#turn.hasWaiters) return false;
    if (!this.#isWanted) return true;
    const isLong = this.#parts.clock.monotonicMs() - this.#sinceMs >= this.#lease.ttlMs / 2;
    return this.#times < mostHandOvers && !isLong;
  }

  get #times(): number {
    return this.#turn.inherited?.times ?? 0;
  }

  get #sinceMs(): number {
    return this.#turn.inherited?.sinceMs ?? this.#takenMs;
  }

  #renewLater(): void {
    const leftMs = this.#takenMs + this.#maxLeaseMs - this.#parts.clock.monotonicMs();
    const pauseMs = Math.max(0, Math.min(this.#lease.ttlMs / 3, leftMs));
    this.#stopTimer = this.#parts.clock.after(pauseMs, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    const askedMs = this.#parts.clock.monotonicMs();
    if (askedMs - this.#takenMs >= this.#maxLeaseMs) return this.#lose("overdue");
    let holds: boolean | undefined;
    try {
      holds = await this.#place.renew(this.#lease);
    } catch {
      holds = undefined; // the node did not say; it may say so next time
    }
    if (!this.#isHeld) return;
    if (holds === true) this.#confirmedMs = askedMs;
    const isExpired = this.#parts.clock.monotonicMs() - this.#confirmedMs >= this.#lease.ttlMs;
    if ((holds === false && !this.#isBeingGivenBack) || isExpired) this.#lose("gone");
    else this.#renewLater();
  }

  #lose(why: "overdue" | "gone"): void {
    this.#end();
    if (why === "overdue") void this.#giveBack();
    this.#parts.onOver(this);
    this.#parts.onLost(this.#session, this.#parts.clock.monotonicMs() - this.#takenMs);
    this.#turn.pass();
  }

  #end(): void {
    this.#isHeld = false;
    this.#stopTimer();
  }

  async #giveBack(): Promise<void> {
    await this.#place.unlock(this.#lease.token).catch(() => {}); // then it ends by itself
  }
}
