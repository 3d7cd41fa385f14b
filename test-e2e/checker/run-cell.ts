import { isDeepStrictEqual } from "node:util";
import { memcachedCommand, redisCommand, startServer, type TestServer, waitUntil } from "@msm/conformance";
import { Ledger } from "../history/ledger.js";
import { isAcknowledged } from "../history/operation.js";
import type { Mode, Policy } from "../history/policies.js";
import { type JudgedHistory, judge, type Verdict } from "../history/verdict.js";
import { type Balancer, createBalancer } from "./balancer.js";
import { CheckedSession } from "./checked-session.js";
import { type FaultReport, runFaults } from "./faults.js";
import { Fleet, lockOptions } from "./fleet.js";
import { runLoad } from "./load.js";

/** What is tried out. */
export interface Cell {
  readonly storage: "memcached" | "redis";
  readonly mode: Mode;
  /** The policies of the sessions, in turn. */
  readonly policies: readonly Policy[];
  /** How long the load runs, at the least. */
  readonly durationMs: number;
  /** False: the policy "all" goes without its lock, to show that the checker misses it. Default true. */
  readonly isLocked?: boolean;
  /** Whether workers are stopped and killed. Default true. */
  readonly faults?: boolean;
}

/** What was found. */
export interface CellReport extends Verdict, FaultReport {
  /** Conflict events of all workers, also of those that were killed later. */
  readonly conflicts: number;
  /** Of the session that had the fewest acknowledged requests: so many. */
  readonly leastAcknowledged: number;
}

const sessionCount = 6;

/** No fault begins later than this before the end: the last one shall be got over under load. */
const lastFaultMs = 6000;

/** Runs the workload on processes and nodes of its own, with faults, and judges what comes of it. */
export async function runCell(cell: Cell): Promise<CellReport> {
  const nodes = await Promise.all([startNode(cell), startNode(cell)]);
  const fleet = new Fleet({ ...cell, nodes: addressesOf(cell, nodes) });
  try {
    await fleet.start();
    const balancer = createBalancer(cell.mode, fleet.workers);
    const ledger = new Ledger();
    const sessions = Array.from(
      { length: sessionCount },
      (_, at) =>
        new CheckedSession(`s${at + 1}`, cell.policies[at % cell.policies.length]!, balancer, ledger),
    );

    await Promise.all(sessions.map((session) => session.begin()));
    const faults = await stress(cell, sessions, fleet, ledger);
    const readings = await Promise.all(sessions.map((session) => readOut(session, balancer, ledger)));
    return report(cell, readings, faults, fleet);
  } finally {
    await fleet.end();
    await Promise.all(nodes.map((node) => node.close()));
  }
}

const startNode = ({ storage }: Cell): Promise<TestServer> =>
  startServer(storage === "memcached" ? memcachedCommand() : redisCommand());

function addressesOf({ storage }: Cell, nodes: readonly TestServer[]): string {
  const scheme = storage === "redis" ? "redis://" : "";
  return nodes.map(({ host, port }, at) => `n${at + 1}:${scheme}${host}:${port}`).join(",");
}

/** Load and faults at the same time; then waits until every request has its outcome. */
async function stress(
  { durationMs, faults = true }: Cell,
  sessions: readonly CheckedSession[],
  { thinking }: Fleet,
  ledger: Ledger,
): Promise<FaultReport> {
  const startedMs = performance.now();
  const isPast = (ms: number) => performance.now() - startedMs > ms;
  let faultsAreOver = !faults;
  const context = { sessions, ledger, thinking, leaseTtlMs: lockOptions.leaseTtlMs };
  const [report] = await Promise.all([
    runFaults(context, () => faultsAreOver || isPast(durationMs - lastFaultMs)).finally(() => {
      faultsAreOver = true;
    }),
    runLoad(sessions, () => faultsAreOver && isPast(durationMs)),
  ]);
  await Promise.all(sessions.map((session) => session.quiet()));
  return report;
}

interface Reading {
  readonly history: JudgedHistory;
  /** In words, where two workers do not hold the same. */
  readonly disagreement: string | undefined;
}

/** Reads what a session ended as, once a sticky one's former owner has heard of what another worker did last: within a second. */
async function readOut(session: CheckedSession, balancer: Balancer, ledger: Ledger): Promise<Reading> {
  let reading = await readOnce(session, balancer, ledger);
  const agrees = async () => {
    if (reading.disagreement !== undefined) reading = await readOnce(session, balancer, ledger);
    return reading.disagreement === undefined;
  };
  await waitUntil("the workers agree", agrees, { timeoutMs: 5000 }).catch(() => {}); // the report says so
  return reading;
}

/** Reads it from its worker, and from one that has to ask the nodes for it. */
async function readOnce(session: CheckedSession, balancer: Balancer, ledger: Ledger): Promise<Reading> {
  const worker = session.worker();
  const final = await session.state(worker);
  const other = balancer.otherThan(worker);
  const agree = isDeepStrictEqual(await session.state(other), final);
  return {
    history: { ...ledger.historyOf(session.name, final), policy: session.policy },
    disagreement: agree
      ? undefined
      : `${worker.name} and ${other.name} disagree on what ${session.name} holds`,
  };
}

function report({ mode }: Cell, readings: readonly Reading[], faults: FaultReport, fleet: Fleet): CellReport {
  const histories = readings.map(({ history }) => history);
  const disagreements = readings.flatMap(({ disagreement }) => disagreement ?? []);
  const conflictsOf = (policy: Policy) =>
    fleet.conflicts.filter((conflict) => conflict.policy === policy && conflict.attribute === "counter")
      .length;
  const verdict = judge(histories, mode, conflictsOf);
  const acknowledged = histories.map(({ operations }) => operations.filter(isAcknowledged).length);
  return {
    ...verdict,
    ...faults,
    violations: [...verdict.violations, ...disagreements, ...fleet.failures],
    conflicts: fleet.conflicts.length,
    leastAcknowledged: Math.min(...acknowledged),
  };
}
