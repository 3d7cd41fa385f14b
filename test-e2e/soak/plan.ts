import type { Cell } from "../faults/cell.js";
import type { Random } from "../faults/random.js";
import { type Fault, faults } from "./faults.js";

/** What a soak does, and how long: all of it follows from its length and its seed. */
export interface Plan {
  readonly cells: readonly CellPlan[];
  /** Sessions that are there at a time. */
  readonly sessions: number;
  /** Requests in a second, beside bursts and cookies that are none. */
  readonly ratePerSecond: number;
  /** From the beginning of a fault to that of the next, in milliseconds; longer where a repair takes its time. */
  readonly everyMs: number;
  /** For how long no node can be reached, in milliseconds. */
  readonly allDownMs: number;
  /** Seconds of load before the first fault, and twice as many behind the last. */
  readonly warmUpSeconds: number;
}

/** What is done in one cell. */
export interface CellPlan {
  readonly cell: Cell;
  readonly faults: readonly PlannedFault[];
}

export interface PlannedFault {
  readonly fault: Fault;
  readonly lastsMs: number;
}

/** A soak that is shorter runs one cell for each kind of node. */
const allCellsFromSeconds = 200;

const longCells: readonly Cell[] = [
  { storage: "redis", mode: "non-sticky" },
  { storage: "memcached", mode: "non-sticky" },
  { storage: "redis", mode: "sticky" },
  { storage: "memcached", mode: "sticky-async" },
];
const shortCells: readonly Cell[] = [
  { storage: "memcached", mode: "non-sticky" },
  { storage: "redis", mode: "sticky" },
];

const everyMs = 6000;
/** The rest of a cell's time is its start, the restarts, the time without nodes, and the audit. */
const faultShare = 0.8;

/** Makes the plan of a soak that is to run for about so many seconds. */
export function makePlan(seconds: number, random: Random): Plan {
  const cells = seconds < allCellsFromSeconds ? shortCells : longCells;
  const cellSeconds = seconds / cells.length;
  const faultsEach = Math.max(1, Math.round((cellSeconds * 1000 * faultShare) / everyMs));
  const turns = inTurns(random);
  return {
    cells: cells.map((cell) => ({ cell, faults: Array.from({ length: faultsEach }, () => turns(cell)) })),
    sessions: Math.round(Math.min(800, 160 + seconds)),
    ratePerSecond: seconds < allCellsFromSeconds ? 160 : 230,
    everyMs,
    allDownMs: Math.max(2000, Math.round((8000 * seconds) / 600)),
    warmUpSeconds: Math.max(1, cellSeconds / 30),
  };
}

/** Each fault comes once, in an order by chance, before any comes again. */
function inTurns(random: Random): (cell: Cell) => PlannedFault {
  let left: Fault[] = [];
  return () => {
    if (left.length === 0) left = shuffled(faults, random);
    const fault = left.pop()!;
    return { fault, lastsMs: random.between(fault.leastMs ?? 1000, 4000) };
  };
}

/** The same values in an order by chance. */
export function shuffled<T>(values: readonly T[], random: Random): T[] {
  const rest = [...values];
  return values.map(() => rest.splice(random.between(0, rest.length - 1), 1)[0]!);
}
