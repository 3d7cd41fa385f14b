import { isDeepStrictEqual } from "node:util";
import { waitUntil } from "@msm/conformance";
import { appends, type FinalState, isAcknowledged } from "../history/operation.js";
import type { Policy } from "../history/policies.js";
import { type JudgedHistory, judge, type Verdict } from "../history/verdict.js";
import { type Cell, isSticky } from "./cell.js";
import { eachLimited } from "./each-limited.js";
import type { NodeContents } from "./node-scan.js";
import type { Absence, Population } from "./population.js";
import { digestOf } from "./session-cookie.js";
import type { TrackedSession } from "./tracked-session.js";

/** What is found when all is quiet. */
export interface Audit {
  /** Of the sessions that are there: what the ledger has of them, and what they hold. */
  readonly histories: readonly TrackedHistory[];
  /** Sessions that nobody had ended, and that no process finds. */
  readonly gone: readonly Absence[];
  /** Appends that were acknowledged for these. */
  readonly lostWithSessions: number;
  /** Sessions on which two processes do not agree, or which one cannot read. */
  readonly disagreements: readonly Absence[];
  /** Sessions that were given up by a log-in that was answered with an error. */
  readonly endedByFailedLogin: number;
  readonly copies: Copies;
}

/** What is known of a session that is there. */
export interface TrackedHistory extends JudgedHistory {
  readonly tracked: TrackedSession;
}

/** What the nodes hold of the sessions that are there. */
interface Copies {
  /** Leases that are left though no request is under way. */
  readonly leases: number;
  /** Sessions whose newest record is on one node alone: in sticky mode all, as the process has the other copy. */
  readonly single: number;
  /** Sessions that no node has a record of. */
  readonly none: number;
  /** Records that are older than another of the same session. */
  readonly old: number;
  /** Records of sessions that were ended, on nodes that have not been told. */
  readonly undead: number;
}

const atOnce = 16;

/** Holds what the ledger says against what the sessions hold. */
export const judgeSessions = (histories: readonly TrackedHistory[], cell: Cell): Verdict =>
  judge(histories, isSticky(cell) ? "sticky" : "non-sticky", unlimited);

/** What is overwritten where the response does not wait shows as lost writes, not as forks. */
const unlimited = () => Number.POSITIVE_INFINITY;

/** No lease outlives its holder for so long. */
const leasesGoneMs = 6000;

/**
 * Reads every session, through every process, and every node; sends every dead cookie once more. The load must have
 * stopped.
 */
export async function audit(population: Population): Promise<Audit> {
  const readings = await eachLimited(population.live, atOnce, (session) => readOut(session, population));
  const histories = readings.flatMap(({ final, session }) => historyOf(session, final, population));
  const gone = readings.filter(({ final }) => final === undefined).map(({ session }) => session);
  const unexplained = gone.filter(({ mayBeGone }) => !mayBeGone);
  await probeAll(population);
  return {
    histories,
    gone: unexplained.map((session) => ({
      session,
      what: `${session.name} is gone, and nobody had ended it`,
    })),
    lostWithSessions: unexplained.reduce((sum, { name }) => sum + acknowledgedAppends(name, population), 0),
    disagreements: readings.flatMap(({ session, disagreement }) =>
      disagreement === undefined ? [] : [{ session, what: disagreement }],
    ),
    endedByFailedLogin: gone.length - unexplained.length,
    copies: await countCopies(population),
  };
}

interface Reading {
  readonly session: TrackedSession;
  /** Undefined where no process finds it. */
  readonly final: FinalState | undefined;
  readonly disagreement: string | undefined;
}

/** Reads what a session ended as; also from a process that has to ask the nodes for it. */
async function readOut(session: TrackedSession, { bench }: Population): Promise<Reading> {
  const app = session.app();
  const other = app && bench.balancer.otherThan(app);
  try {
    const final = await session.state(app);
    const seenByOther = other === undefined ? final : await session.state(other);
    const disagreement = isDeepStrictEqual(seenByOther, final)
      ? undefined
      : `${app?.name} and ${other?.name} disagree on ${session.name}: ${seenBy(final)}, ${seenBy(seenByOther)}`;
    return { session, final: final ?? seenByOther, disagreement };
  } catch (error) {
    return { session, final: undefined, disagreement: String(error) };
  }
}

const seenBy = (state: FinalState | undefined) =>
  state === undefined ? "nothing" : `${state.found.length} ids, counter ${state.count}`;

/**
 * A lock makes all requests of a session one line. In sticky mode there is none: the requests of a process share the session,
 * and two processes that change the same attribute cannot both be acknowledged, unless what the first one changed has not
 * left it yet.
 */
const policies: Readonly<Record<Cell["mode"], Policy>> = {
  "non-sticky": "all",
  sticky: "fail",
  "sticky-async": "last-write-wins",
};

function historyOf(
  tracked: TrackedSession,
  final: FinalState | undefined,
  { ledger, bench }: Population,
): TrackedHistory[] {
  const policy = policies[bench.cell.mode];
  return final === undefined ? [] : [{ ...ledger.historyOf(tracked.name, final), policy, tracked }];
}

function acknowledgedAppends(session: string, { ledger }: Population): number {
  return ledger.operations.filter(
    (operation) => operation.session === session && isAcknowledged(operation) && appends(operation),
  ).length;
}

async function probeAll(population: Population): Promise<void> {
  const { apps } = population.bench;
  const probes = population.dead.flatMap((dead) => apps.map((app) => ({ dead, app })));
  const inRotation = probes.filter(({ app }) => app.isInRotation);
  await eachLimited(inRotation, atOnce, ({ dead, app }) => population.probe(dead, app));
}

async function countCopies(population: Population): Promise<Copies> {
  const { bench } = population;
  let contents = await bench.scan();
  const leases = () => [...contents.values()].reduce((sum, { leases }) => sum + leases.length, 0);
  const gone = async () => {
    if (leases() > 0) contents = await bench.scan();
    return leases() === 0;
  };
  await waitUntil("no lease is left", gone, { timeoutMs: leasesGoneMs, everyMs: 200 }).catch(() => {});

  const known = population.live.map((session) => recordsOf(session.id, contents));
  const ended = population.sessions.filter(({ standing }) => standing === "ended");
  return {
    leases: leases(),
    single: known.filter((records) => records.length - oldIn(records) === 1).length,
    none: known.filter((records) => records.length === 0).length,
    old: known.reduce((sum, records) => sum + oldIn(records), 0),
    undead: ended.reduce((sum, { id }) => sum + recordsOf(id, contents).filter(isAlive).length, 0),
  };
}

interface KnownRecord {
  readonly version: string;
  readonly isTombstone: boolean;
}

const isAlive = ({ isTombstone }: KnownRecord) => !isTombstone;

function recordsOf(id: string, contents: ReadonlyMap<string, NodeContents>): KnownRecord[] {
  const digest = digestOf(id);
  return [...contents.values()].flatMap(({ records }) => records.get(digest) ?? []);
}

function oldIn(records: readonly KnownRecord[]): number {
  const newest = records
    .map(({ version }) => version)
    .sort()
    .at(-1);
  return records.filter(({ version }) => version !== newest).length;
}
