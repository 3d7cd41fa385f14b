/** Whether somebody else had the processor while something was measured. */
import { readFileSync } from "node:fs";

/** Of `/proc/stat` and `/proc/<pid>/stat`: it is the same wherever Linux runs. */
const tickMs = 10;

/** What is counted in ticks is so far off, at either end, for each of two cores. */
const toleranceMs = 30;

/** Tells how much processor time went to processes that are not of this run. */
export class ForeignWork {
  #pids;
  #before;

  /** @param {readonly number[]} pids those that are of this run, beside this process */
  constructor(pids) {
    this.#pids = [process.pid, ...pids];
  }

  begin() {
    this.#before = this.#read();
  }

  /**
   * @param {number} part of one core that others may have used since `begin()`
   * @returns {boolean} false where the system does not tell
   */
  exceeds(part) {
    const now = this.#read();
    if (now === undefined || this.#before === undefined) return false;
    const foreignMs = tickMs * (now.busy - this.#before.busy - (now.own - this.#before.own));
    return foreignMs > Math.max(part * (now.atMs - this.#before.atMs), toleranceMs);
  }

  #read() {
    try {
      const own = this.#pids.reduce((sum, pid) => sum + ownTicks(pid), 0);
      return { atMs: performance.now(), busy: busyTicks(), own };
    } catch {
      // No Linux, or a process has ended, which ends the run elsewhere.
      return undefined;
    }
  }
}

/** Of processes alone: interrupts belong to nobody. */
function busyTicks() {
  const [, user = 0, nice = 0, system = 0] = readFileSync("/proc/stat", "latin1").split(/\s+/, 4).map(Number);
  return user + nice + system;
}

function ownTicks(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // The name, in parentheses, may hold blanks. Behind it, utime and stime are the 12th and 13th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}
