import {
  brokenPrefixes,
  type Check,
  countedOutOfOrder,
  countedTooLittle,
  countedTooMuch,
  countedTwice,
  doubledWrites,
  foreignSessions,
  forks,
  lostCounts,
  lostWrites,
  type SessionHistory,
  staleCounts,
  staleReads,
  unfoundedWrites,
} from "./checks.js";
import { isAcknowledged, type Operation } from "./operation.js";
import type { Mode, Policy } from "./policies.js";

/** What is promised whatever keeps the requests apart. */
const always: readonly Check[] = [
  lostWrites,
  doubledWrites,
  unfoundedWrites,
  foreignSessions,
  countedTooMuch,
];

/** What the policies promise in both modes, beside that. */
const promised: Readonly<Record<Policy, readonly Check[]>> = {
  all: [countedTooLittle, countedTwice, countedOutOfOrder, brokenPrefixes],
  fail: [countedTooLittle, countedTwice],
  sum: [countedTooLittle],
  "last-write-wins": [],
};

/**
 * What is promised. Who reads finds all that was acknowledged before, with two exceptions: a counter whose last write
 * wins may go back; and a sticky process reads from its memory, so that where the balancer sends requests of one session
 * to two processes at once, one of them may read what the other has changed since. It cannot write on that ground.
 */
export function promises(policy: Policy, mode: Mode): readonly Check[] {
  const fresh = policy === "last-write-wins" ? [staleReads] : [staleReads, staleCounts];
  return [...always, ...promised[policy], ...(mode === "non-sticky" ? fresh : [])];
}

/** A session's history, with the policy that it was made under. */
export interface JudgedHistory extends SessionHistory {
  readonly policy: Policy;
}

/** What a run came to. */
export interface Verdict {
  /** What must not be, in words. */
  readonly violations: readonly string[];
  readonly requests: number;
  readonly acknowledged: number;
  /** How often each refusal was given. */
  readonly refused: Readonly<Record<string, number>>;
  /** How often each reason left open what came of a request. */
  readonly indeterminate: Readonly<Record<string, number>>;
  /** Acknowledged ids that are not found, and acknowledged counts that are missing under a policy that keeps them. */
  readonly lost: number;
  readonly doubled: number;
  /** Counts that `last-write-wins` overwrote. */
  readonly overwritten: number;
  /** Of acknowledged requests, in milliseconds. */
  readonly p99Ms: number;
}

/**
 * Judges all sessions of a run.
 * @param conflictsOf how many conflict events there were under a policy, over the counter that all requests change
 */
export function judge(
  histories: readonly JudgedHistory[],
  mode: Mode,
  conflictsOf: (policy: Policy) => number,
): Verdict {
  const operations = histories.flatMap((history) => history.operations);
  const acknowledged = operations.filter(isAcknowledged);
  const overwriting = histories.filter(({ policy }) => policy === "last-write-wins");
  const keeping = histories.filter(({ policy }) => policy !== "last-write-wins");
  return {
    violations: [
      ...histories.flatMap((history) => promises(history.policy, mode).flatMap((check) => check(history))),
      ...silentOverwrites(overwriting, conflictsOf("last-write-wins")),
    ],
    requests: operations.length,
    acknowledged: acknowledged.length,
    refused: tally(operations, ({ outcome }) => (outcome.kind === "refused" ? outcome.code : undefined)),
    indeterminate: tally(operations, ({ outcome }) =>
      outcome.kind === "indeterminate" ? outcome.why : undefined,
    ),
    lost: sum(histories, (history) => lostWrites(history).length) + sum(keeping, lostCounts),
    doubled: sum(histories, (history) => doubledWrites(history).length),
    overwritten: sum(overwriting, lostCounts),
    p99Ms: percentile(
      acknowledged.map(({ startedMs, endedMs }) => endedMs - startedMs),
      0.99,
    ),
  };
}

/** Where the last write wins, a count that was overwritten must have been reported. */
function silentOverwrites(histories: readonly SessionHistory[], conflicts: number): string[] {
  const forked = sum(histories, forks);
  return forked <= conflicts
    ? []
    : [`the counters' histories fork ${forked} times, and there were ${conflicts} conflict events`];
}

function tally(
  operations: readonly Operation[],
  keyOf: (operation: Operation) => string | undefined,
): Readonly<Record<string, number>> {
  const tallied: Record<string, number> = {};
  for (const operation of operations) {
    const key = keyOf(operation);
    if (key !== undefined) tallied[key] = (tallied[key] ?? 0) + 1;
  }
  return tallied;
}

const sum = <T>(values: readonly T[], numberOf: (value: T) => number): number =>
  values.reduce((total, value) => total + numberOf(value), 0);

/** The value that so large a share of the values does not exceed; NaN where there are none. */
function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN;
}
