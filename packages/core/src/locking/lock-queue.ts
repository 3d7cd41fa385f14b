import type { Clock } from "../clock.js";
import { MsmError } from "../errors.js";
import { type Waiting, waitUntil } from "./waiting.js";

/** How many requests may wait: for one session, and in the whole process. */
export interface QueueLimits {
  readonly waitersPerSession: number;
  readonly waitersPerProcess: number;
}

/** So that one session's requests can fill neither the memory nor the time of a process. */
const defaultQueueLimits: QueueLimits = { waitersPerSession: 32, waitersPerProcess: 1000 };

/** Whose turn it is with a session, in this process. */
export interface Turn<T> {
  /** What the one before left to this one. */
  readonly inherited: T | undefined;
  /** Whether another waits for this turn to end. */
  readonly hasWaiters: boolean;
  /** Ends the turn: the next one gets in, with what it inherits. Safe to call twice. */
  pass(inheritance?: T): void;
}

interface Waiter<T> {
  letIn(turn: Turn<T>): void;
}

/** Lets the requests of one session in one after the other, in the order in which they came. */
export class LockQueue<T = never> {
  readonly #clock: Clock;
  readonly #limits: QueueLimits;
  /** Who waits, for each session that somebody is in. */
  readonly #lines = new Map<string, Set<Waiter<T>>>();
  #waiting = 0;

  constructor(clock: Clock, limits: QueueLimits = defaultQueueLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** How many requests wait in this process. */
  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Waits for the turn with a session; at once where nobody is in.
   * @throws MsmError MSM_ERR_LOCK_QUEUE_FULL, MSM_ERR_LOCK_TIMEOUT, or MSM_ERR_ABORTED
   */
  async enter(session: string, waiting: Waiting): Promise<Turn<T>> {
    const line = this.#lines.get(session);
    if (line === undefined) {
      this.#lines.set(session, new Set());
      return this.#turn(session, undefined);
    }
    this.#checkLimits(line);
    return waitUntil<Turn<T>>(waiting, this.#clock, (done) => {
      const waiter = { letIn: done };
      line.add(waiter);
      this.#waiting++;
      return () => {
        line.delete(waiter);
        this.#waiting--;
      };
    });
  }

  #checkLimits(line: ReadonlySet<Waiter<T>>): void {
    const { waitersPerSession, waitersPerProcess } = this.#limits;
    if (line.size < waitersPerSession && this.#waiting < waitersPerProcess) return;
    throw new MsmError(
      "MSM_ERR_LOCK_QUEUE_FULL",
      line.size >= waitersPerSession
        ? `${line.size} requests wait for the session already`
        : `${this.#waiting} requests of this process wait for sessions already`,
    );
  }

  #turn(session: string, inherited: T | undefined): Turn<T> {
    const line = this.#lines.get(session);
    let isOver = false;
    return {
      inherited,
      get hasWaiters() {
        return !isOver && line !== undefined && line.size > 0;
      },
      pass: (inheritance) => {
        if (isOver) return;
        isOver = true;
        const [next] = line ?? [];
        if (next === undefined) this.#lines.delete(session);
        else next.letIn(this.#turn(session, inheritance));
      },
    };
  }
}
