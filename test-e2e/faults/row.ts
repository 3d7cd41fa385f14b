import { pause } from "@msm/conformance";
import type { App, Bench, BenchOptions } from "./bench.js";
import type { Cell } from "./cell.js";
import type { LoadOptions } from "./load.js";
import type { Population } from "./population.js";
import type { Random } from "./random.js";
import type { TrackedSession } from "./tracked-session.js";

/** A row of the fault matrix. */
export interface Row {
  /** "F1" to "F28". */
  readonly id: string;
  /** What is done, in a few words. */
  readonly title: string;
  /** Where it is run. Default: wherever the response waits for what is stored. */
  readonly applies?: (cell: Cell) => boolean;
  readonly bench?: (cell: Cell) => BenchOptions;
  /** What goes on meanwhile; "none" where `inject` itself sends the requests. Default: the usual load. */
  readonly load?: LoadOptions | "none";
  /** Does it, and undoes it. What it wants shown it puts into `stage.counts`, what must not be into `stage.violations`. */
  inject(stage: Stage): Promise<void>;
  /** Looks at what came of it, when all is quiet and before the audit. */
  after?(stage: Stage): Promise<void>;
  /** What this fault may do to sessions, by the documentation: then it is counted and shown, and no violation. */
  readonly limits?: (stage: Stage) => Limits | undefined;
}

/** Documented limits. */
export interface Limits {
  /** Why it may be, in words. */
  readonly why: string;
  /** Whether such a session may be gone, with all that was acknowledged for it. */
  readonly mayGo?: (session: TrackedSession) => boolean;
  /** Whether what was ended may be served again. Default false. */
  readonly mayReturn?: boolean;
  /** Whether a write may be lost that was acknowledged at such a moment. */
  readonly mayLose?: (acknowledgedAtMs: number) => boolean;
}

/** What a row has to work with. */
export interface Stage {
  readonly cell: Cell;
  readonly bench: Bench;
  readonly population: Population;
  readonly random: Random;
  /** How long the fault shall last, where the row does not know better. */
  readonly faultMs: number;
  /** Shown with the row. */
  readonly counts: Map<string, number | string>;
  /** Fails the row. */
  readonly violations: string[];
  /** Periods in which a process stood still: its requests are no measure of how long others take. */
  readonly standstills: Standstill[];
}

interface Standstill {
  readonly app: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** Lets a part of the fault's time pass. */
export const faultTime = ({ faultMs }: Stage, part = 1): Promise<void> => pause(faultMs * part);

/** Adds to a count of the row. */
export function add({ counts }: Stage, name: string, number: number): void {
  counts.set(name, Number(counts.get(name) ?? 0) + number);
}

/** Fails the row where something is not so. */
export function demand({ violations }: Stage, isSo: boolean, otherwise: string): void {
  if (!isSo) violations.push(otherwise);
}

/** Stops a process in its tracks for a while; the balancer knows at once. */
export async function standStill(stage: Stage, app: App, ms: number): Promise<void> {
  const fromMs = performance.now();
  app.pause();
  await pause(ms);
  app.resume();
  stage.standstills.push({ app: app.name, fromMs, toMs: performance.now() });
}
