import { BriefMap } from "../brief-map.js";
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
  /** For each session that somebody is in. */
  readonly #lines = new BriefMap<Line<T>>();
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
   * Waits for the turn with a session; where nobody is in, it is given at once, and no promise of it.
   * Rejects with MsmError MSM_ERR_LOCK_QUEUE_FULL, MSM_ERR_LOCK_TIMEOUT, or MSM_ERR_ABORTED
   */
  enter(session: string, waiting: Waiting): Turn<T> | Promise<Turn<T>> {
    const line = this.#lines.get(session);
    if (line === undefined) {
      const first = new Line<T>(() => this.#lines.delete(session));
      this.#lines.add(session, first);
      return new LineTurn(first, undefined);
    }
    const refusal = this.#refusalFor(line.length);
    if (refusal !== undefined) return Promise.reject(refusal);
    return waitUntil<Turn<T>>(waiting, this.#clock, (done) => {
      const waiter = { letIn: done };
      line.add(waiter);
      this.#waiting++;
      return () => {
        line.remove(waiter);
        this.#waiting--;
      };
    });
  }

  #refusalFor(inLine: number): MsmError | undefined {
    const { waitersPerSession, waitersPerProcess } = this.#limits;
    if (inLine < waitersPerSession && this.#waiting < waitersPerProcess) return undefined;
    return new MsmError(
      "MSM_ERR_LOCK_QUEUE_FULL",
      inLine >= waitersPerSession
        ? `${inLine} requests wait for the session already`
        : `${this.#waiting} requests of this process wait for sessions already`,
    );
  }
}

/** Who waits for a session that somebody is in: mostly nobody. */
class Line<T> {
  readonly #end: () => void;
  #waiters: Set<Waiter<T>> | undefined;

  /** @param end called when the last one goes */
  constructor(end: () => void) {
    this.#end = end;
  }

  get length(): number {
    return this.#waiters?.size ?? 0;
  }

  add(waiter: Waiter<T>): void {
    this.#waiters ??= new Set();
    this.#waiters.add(waiter);
  }

  remove(waiter: Waiter<T>): void {
    this.#waiters?.delete(waiter);
  }

  /** Lets the next one in. */
  goOn(inheritance: T | undefined): void {
    const [next] = this.#waiters ?? [];
    if (next === undefined) this.#end();
    else next.letIn(new LineTurn(this, inheritance));
  }
}

class LineTurn<T> implements Turn<T> {
  readonly inherited: T | undefined;
  readonly #line: Line<T>;
  #isOver = false;

  constructor(line: Line<T>, inherited: T | undefined) {
    this.#line = line;
    this.inherited = inherited;
  }

  get hasWaiters(): boolean {
    return !this.#isOver && this.#line.length > 0;
  }

  pass(inheritance?: T): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#line.goOn(inheritance);
  }
}
