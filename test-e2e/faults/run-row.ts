import { pause, waitUntil } from "@msm/conformance";
import { isAcknowledged } from "../history/operation.js";
import type { Verdict } from "../history/verdict.js";
import { type Audit, audit, judgeSessions } from "./audit.js";
import { Bench } from "./bench.js";
import { type Cell, nameOf } from "./cell.js";
import { Load } from "./load.js";
import { type Absence, Population, type RequestNote } from "./population.js";
import { Pulse } from "./pulse.js";
import { type Random, seededRandom } from "./random.js";
import type { Limits, Row, Stage } from "./row.js";
import { codeIn, type TrackedSession } from "./tracked-session.js";
import { writeTranscript } from "./transcript.js";

/** How a row is run. */
export interface RunOptions {
  readonly seed: string;
  /** How long the load runs, in seconds: a fifth before the fault, two fifths with it, the rest behind it. */
  readonly seconds: number;
  /** Whether the story is written down even where all is well. Default false. */
  readonly tellsAll?: boolean;
}

/** What a row came to. */
export interface RowReport {
  readonly row: Row;
  readonly cell: Cell;
  /** What must not be, in words; none where the row is passed. */
  readonly violations: readonly string[];
  /** What was lost within documented limits, in words. */
  readonly withinLimits: readonly string[];
  /** Why that may be, in words. */
  readonly limit: string | undefined;
  readonly requests: number;
  readonly acknowledged: number;
  readonly lost: number;
  readonly doubled: number;
  readonly foreign: number;
  readonly resurrected: number;
  readonly newIds: number;
  /** How often a session was not there, or its cookie was replaced, though nobody had ended it. */
  readonly loggedOut: number;
  /** Answers with status 500 and above, before the fault, with it and behind it. */
  readonly serverErrors: readonly number[];
  /** Milliseconds that 99 of 100 requests took at most, in the same three. */
  readonly p99Ms: readonly number[];
  readonly slowestMs: number;
  /** What is special to the row. */
  readonly counts: ReadonlyMap<string, number | string>;
  /** Where the whole story was written, if something was wrong. */
  readonly transcript: string | undefined;
  readonly tookMs: number;
}

/** No request may take longer, whatever happens to nodes and to other processes; but for what the machine takes by itself. */
const longestRequestMs = 5000;

/** So often a request has to wait for its turn on the machine: in its process, and for the nodes' answers. */
const pagesInARequest = 5;

/** Starts a bench, runs the row on it, and judges what is found. @throws Error where the bench does not start */
export async function runRow(
  row: Row,
  cell: Cell,
  { seed, seconds, tellsAll = false }: RunOptions,
): Promise<RowReport> {
  const startedMs = performance.now();
  const random = seededRandom(`${seed} ${row.id} ${nameOf(cell)}`);
  const bench = await Bench.start(cell, row.bench?.(cell));
  const pulse = new Pulse(bench.apps);
  try {
    const stage = stageFor(cell, bench, random, seconds);
    pulse.start();
    const bounds = await play(row, stage, seconds);
    await row.after?.(stage);
    await bench.allNodesUp();
    const found = await audit(stage.population);
    await pulse.stop();
    const report = judgeRow(row, stage, found, {
      bounds,
      pageMs: Math.max(0, ...measured(stage, pulse.beats).map(tookMs)),
    });
    const transcript =
      report.violations.length === 0 && !tellsAll
        ? undefined
        : writeTranscript({ row, seed, stage, found, report });
    return { ...report, transcript, tookMs: performance.now() - startedMs };
  } finally {
    await pulse.stop();
    await bench.end();
  }
}

function stageFor(cell: Cell, bench: Bench, random: Random, seconds: number): Stage {
  return {
    ...{ cell, bench, random },
    population: new Population(bench),
    faultMs: seconds * 400,
    counts: new Map(),
    violations: [],
    standstills: [],
  };
}

/** @returns when the fault began and when it was over */
async function play(row: Row, stage: Stage, seconds: number): Promise<readonly [number, number]> {
  if (row.load === "none") {
    const startedMs = performance.now();
    await row.inject(stage);
    await stage.population.quiet();
    return [startedMs, performance.now()];
  }
  const load = new Load(stage.population, stage.random.fork("load"), row.load);
  await load.start();
  try {
    await pause(seconds * 200);
    const begunMs = performance.now();
    await row.inject(stage);
    const overMs = performance.now();
    await pause(seconds * 400);
    await demandService(stage, overMs);
    return [begunMs, overMs];
  } finally {
    await load.stop();
  }
}

/** So many requests show whether they work. */
const enough = 20;

/** Behind the fault requests work again: at once or, on a slow machine, before anybody would give up. */
async function demandService({ population, violations }: Stage, overMs: number): Promise<void> {
  const newest = () =>
    population.ledger.operations.filter(({ startedMs }) => startedMs > overMs).slice(-enough);
  const work = () => newest().length === enough && newest().filter(isAcknowledged).length * 2 > enough;
  await waitUntil("most requests work", work, { timeoutMs: 30_000 }).catch(() => {
    violations.push(
      `30 s behind the fault ${newest().filter(isAcknowledged).length} of ${enough} requests work`,
    );
  });
}

function judgeRow(
  row: Row,
  stage: Stage,
  found: Audit,
  { bounds, pageMs }: { bounds: readonly [number, number]; pageMs: number },
): Omit<RowReport, "transcript" | "tookMs"> {
  const { cell, bench, population, counts } = stage;
  const { findings, requests, ledger } = population;
  const limits = row.limits?.(stage);
  const mayReturn = limits?.mayReturn === true;
  const losses = splitLosses(stage, found, limits);
  const slowest = slowestOf(stage);

  counts.set("sessionless page ms at most", Math.round(pageMs));
  if (population.probes > 0) counts.set("probes", population.probes);
  if (found.endedByFailedLogin > 0) counts.set("ended by a failed log-in", found.endedByFailedLogin);
  if (population.servedByFormerOwner.length > 0) {
    counts.set("replayed to a former owner", population.servedByFormerOwner.length);
  }
  for (const [code, count] of errorsIn(requests)) counts.set(code, count);
  for (const [name, count] of Object.entries(found.copies))
    if (count > 0) counts.set(`copies ${name}`, count);

  return {
    ...{ row, cell, counts },
    violations: [
      ...stage.violations,
      ...losses.violations,
      ...(mayReturn ? [] : findings.resurrected),
      ...findings.broken,
      ...bench.logs.unhandled,
      ...bench.logs.leaks.map((leak) => `a log line gives a secret away: ${leak}`),
      ...bench.apps.flatMap(({ failure }) => failure ?? []),
      ...(found.copies.leases > 0 ? [`${found.copies.leases} leases are left`] : []),
      ...(slowest !== undefined && tookMs(slowest) > longestRequestMs + pagesInARequest * pageMs
        ? [`a ${slowest.kind} took ${Math.round(tookMs(slowest))} ms`]
        : []),
    ],
    withinLimits: [...losses.withinLimits, ...(mayReturn ? findings.resurrected : [])],
    limit: limits?.why,
    requests: requests.filter(({ kind }) => kind !== "state" && kind !== "probe").length,
    acknowledged: ledger.operations.filter(isAcknowledged).length,
    lost: losses.lost,
    doubled: losses.verdict.doubled,
    foreign: losses.verdict.violations.filter((each) => foreign.test(each)).length,
    resurrected: findings.resurrected.length,
    newIds: findings.newIds.length,
    loggedOut: losses.loggedOut,
    serverErrors: phasesOf(requests, bounds).map((some) => some.filter(isServerError).length),
    p99Ms: phasesOf(requests, bounds).map((some) => percentile(some.map(tookMs), 0.99)),
    slowestMs: slowest === undefined ? 0 : tookMs(slowest),
  };
}

const foreign = / was served with the session | ended as | holds /;

interface Losses {
  readonly violations: string[];
  readonly withinLimits: string[];
  readonly lost: number;
  readonly loggedOut: number;
  /** Of the sessions that the documentation does not give up. */
  readonly verdict: Verdict;
}

/** What is lost, and whether the documentation says that it may be. */
function splitLosses(
  { population, cell }: Stage,
  { histories, gone, lostWithSessions, disagreements }: Audit,
  limits: Limits | undefined,
): Losses {
  const { findings, ledger } = population;
  const mayGo = (session: TrackedSession) => limits?.mayGo?.(session) === true;
  // What may be gone may as well have come back older than it was.
  const verdict = judgeSessions(
    histories.filter(({ tracked }) => !mayGo(tracked)),
    cell,
  );
  const givenUp = judgeSessions(
    histories.filter(({ tracked }) => mayGo(tracked)),
    cell,
  );
  const ends = new Map(ledger.operations.map(({ id, endedMs }) => [id, endedMs]));
  const mayBeLost = (violation: string) => {
    const [, id] = /^(\S+) was acknowledged and is lost/.exec(violation) ?? [];
    return id !== undefined && limits?.mayLose?.(ends.get(id) ?? 0) === true;
  };
  const absences = [...gone, ...disagreements, ...findings.vanished, ...findings.newIds];
  const mayBeAbsent = ({ session }: Absence) => mayGo(session);
  const words = ({ what }: Absence) => what;
  const unexcused = absences.filter((each) => !mayBeAbsent(each));
  const excused = verdict.violations.filter(mayBeLost);
  return {
    verdict,
    loggedOut: unexcused.filter((each) => !disagreements.includes(each)).length,
    violations: [...verdict.violations.filter((each) => !mayBeLost(each)), ...unexcused.map(words)],
    withinLimits: [...excused, ...givenUp.violations, ...absences.filter(mayBeAbsent).map(words)],
    lost: verdict.lost - excused.length + (gone.every(mayBeAbsent) ? 0 : lostWithSessions),
  };
}

function slowestOf(stage: Stage): RequestNote | undefined {
  return measured(stage, stage.population.requests).reduce<RequestNote | undefined>(
    (slowest, each) => (slowest === undefined || tookMs(each) > tookMs(slowest) ? each : slowest),
    undefined,
  );
}

/** What went from when to when, and to which process. */
interface Span {
  readonly app: string | undefined;
  readonly startedMs: number;
  readonly endedMs: number;
}

/** Without what hung in a process that stood still by our doing. */
function measured<T extends Span>({ standstills }: Stage, spans: readonly T[]): T[] {
  return spans.filter(
    ({ app, startedMs, endedMs }) =>
      !standstills.some((each) => each.app === app && startedMs < each.toMs && endedMs > each.fromMs),
  );
}

const tookMs = ({ startedMs, endedMs }: Span) => endedMs - startedMs;

const isServerError = ({ answer }: RequestNote) => answer.kind === "whole" && answer.status >= 500;

/** How often each error was answered. */
function errorsIn(requests: readonly RequestNote[]): Map<string, number> {
  const errors = new Map<string, number>();
  for (const { answer } of requests) {
    const code = codeIn(answer);
    if (code !== "") errors.set(code, (errors.get(code) ?? 0) + 1);
  }
  return errors;
}

function phasesOf(
  requests: readonly RequestNote[],
  [begunMs, overMs]: readonly [number, number],
): RequestNote[][] {
  return [
    requests.filter(({ startedMs }) => startedMs < begunMs),
    requests.filter(({ startedMs }) => startedMs >= begunMs && startedMs < overMs),
    requests.filter(({ startedMs }) => startedMs >= overMs),
  ];
}

/** The value that so large a share of the values does not exceed; NaN where there are none. */
function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN;
}
