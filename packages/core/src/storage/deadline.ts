import { MsmError } from "../errors.js";
import { Linked, LinkedList } from "../linked-list.js";

/** A timer that fires so late was held up by this process, which then could not have read a reply either. */
const heldUpMs = 100;

/** How often an operation gets its time anew. A process that is never in time must give up at some point, too. */
const mostRenewals = 3;

/** When one operation must be done. */
export class Deadline extends Linked {
  readonly #running: LinkedList<Deadline>;
  /** Monotonic milliseconds. */
  dueMs: number;
  readonly what: string;
  readonly onTimeout: (error: MsmError) => void;
  renewalsLeft = mostRenewals;
  isSettled = false;

  constructor(
    running: LinkedList<Deadline>,
    dueMs: number,
    what: string,
    onTimeout: (error: MsmError) => void,
  ) {
    super();
    this.#running = running;
    this.dueMs = dueMs;
    this.what = what;
    this.onTimeout = onTimeout;
  }

  /** The operation is done; nothing happens any more. Safe to call twice. */
  settle(): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.#running.remove(this);
  }
}

/**
 * The deadlines of operations that all have the same time, the first to end first: one timer for all, as a timer for each
 * costs more than the rest of what is done for it.
 */
export class Deadlines {
  readonly #timeoutMs: number;
  readonly #running = new LinkedList<Deadline>();
  #timer: NodeJS.Timeout | undefined;

  /** @param timeoutMs what each operation has, in milliseconds */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Starts the time of one operation. Time in which this process stood still counts for little: what takes several round
   * trips may have some of them still to go, and no node is to blame for that.
   * @param what names the operation in the error
   * @param onTimeout called with MSM_ERR_STORAGE_TIMEOUT where the time is over; has to end whatever still runs
   */
  start(what: string, onTimeout: (error: MsmError) => void): Deadline {
    const deadline = new Deadline(this.#running, performance.now() + this.#timeoutMs, what, onTimeout);
    this.#running.append(deadline);
    this.#timer ??= this.#arm(this.#timeoutMs);
    return deadline;
  }

  /** The operations keep the process alive by their sockets, where they should. */
  #arm(delayMs: number): NodeJS.Timeout {
    return setTimeout(() => this.#judge(), delayMs).unref();
  }

  #judge(): void {
    const running = this.#running;
    const nowMs = performance.now();
    const isHeldUp = running.first !== undefined && nowMs - running.first.dueMs > heldUpMs;
    for (let due = running.first; due !== undefined && due.dueMs <= nowMs; due = running.first) {
      running.remove(due);
      if (isHeldUp && due.renewalsLeft-- > 0) {
        due.dueMs = nowMs + this.#timeoutMs;
        running.append(due);
      }
      // After a pause of this process timers come first, and the reply may lie in the socket already. The step through
      // setImmediate lets it be read before anybody is blamed.
      else setImmediate((late: Deadline) => this.#expire(late), due);
    }
    this.#timer = running.first && this.#arm(Math.max(1, running.first.dueMs - nowMs));
  }

  #expire(deadline: Deadline): void {
    if (deadline.isSettled) return;
    deadline.isSettled = true;
    const { what, onTimeout } = deadline;
    onTimeout(new MsmError("MSM_ERR_STORAGE_TIMEOUT", `${what} took longer than ${this.#timeoutMs} ms`));
  }
}

const byTimeoutMs = new Map<number, Deadlines>();

/** The deadlines of all operations in this process that have so much time, in milliseconds. */
export function deadlinesOf(timeoutMs: number): Deadlines {
  const known = byTimeoutMs.get(timeoutMs);
  if (known !== undefined) return known;
  const made = new Deadlines(timeoutMs);
  byTimeoutMs.set(timeoutMs, made);
  return made;
}

/**
 * Runs an operation that must settle within `timeoutMs` milliseconds, see `Deadlines.start`.
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
    const deadline = deadlinesOf(timeoutMs).start(what, (error) => {
      reject(error);
      onTimeout(error);
    });
    run().then(
      (value) => {
        deadline.settle();
        resolve(value);
      },
      (thrown) => {
        deadline.settle();
        reject(thrown);
      },
    );
  });
}
