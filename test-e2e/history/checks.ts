import { beginningsOf } from "./list-digest.mjs";
import {
  type Acknowledged,
  appends,
  counts,
  type FinalState,
  isAcknowledged,
  type Operation,
} from "./operation.js";

/** All that is known of one session: what its clients were told, and what it holds in the end. */
export interface SessionHistory {
  readonly session: string;
  readonly operations: readonly Operation[];
  readonly final: FinalState;
}

/** Finds what must not be, in words; nothing where all is well. */
export type Check = (history: SessionHistory) => string[];

/** Acknowledged ids that the session does not hold. */
export const lostWrites: Check = ({ operations, final }) => {
  const found = new Set(final.found);
  return operations
    .filter((operation) => isAcknowledged(operation) && appends(operation) && !found.has(operation.id))
    .map(({ id }) => `${id} was acknowledged and is lost`);
};

/** Ids that the session holds more than once. */
export const doubledWrites: Check = ({ final }) =>
  final.found
    .filter((id, index) => final.found.indexOf(id) !== index)
    .map((id) => `${id} was applied more than once`);

/** Ids that the session holds although their request was refused, or was never made. */
export const unfoundedWrites: Check = ({ operations, final }) => {
  const byId = new Map(operations.filter(appends).map((operation) => [operation.id, operation]));
  return final.found.flatMap((id) => {
    const outcome = byId.get(id)?.outcome;
    if (outcome === undefined) return [`${id} is found and nobody wrote it`];
    return outcome.kind === "refused" ? [`${id} was refused (${outcome.code}) and is found`] : [];
  });
};

/** Signs of another session: in answers, in the end, and in the ids that it holds. */
export const foreignSessions: Check = ({ session, operations, final }) => [
  ...operations
    .filter(isAcknowledged)
    .filter(({ outcome }) => outcome.reply.tag !== session)
    .map(({ id, outcome }) => `${id} was served with the session ${outcome.reply.tag}`),
  ...(final.tag === session ? [] : [`the session ${session} ended as ${final.tag}`]),
  ...final.found.filter((id) => !id.startsWith(`${session}:`)).map((id) => `${session} holds ${id}`),
];

/** The counter is at least what was acknowledged. */
export const countedTooLittle: Check = ({ session, operations, final }) => {
  const acknowledged = operations.filter(counts).filter(isAcknowledged).length;
  return final.count >= acknowledged
    ? []
    : [`${session} counted ${final.count}, and ${acknowledged} counts were acknowledged`];
};

/** The counter is at most what was acknowledged and what may have happened. */
export const countedTooMuch: Check = ({ session, operations, final }) => {
  const most = operations.filter(counts).filter(({ outcome }) => outcome.kind !== "refused").length;
  return final.count <= most ? [] : [`${session} counted ${final.count}, and at most ${most} were asked for`];
};

/** No two acknowledged counts gave the same number. */
export const countedTwice: Check = ({ operations }) => {
  const first = new Map<number, string>();
  return operations
    .filter(counts)
    .filter(isAcknowledged)
    .flatMap(({ id, outcome: { reply } }) => {
      const other = first.get(reply.count);
      first.set(reply.count, id);
      return other === undefined ? [] : [`${other} and ${id} both counted to ${reply.count}`];
    });
};

/** A count is above all that were acknowledged before its request began. */
export const countedOutOfOrder: Check = ({ operations }) => {
  const known = mostCounted(operations);
  return operations
    .filter(counts)
    .filter(isAcknowledged)
    .flatMap(({ id, startedMs, outcome: { reply } }) => {
      const most = known(startedMs);
      return reply.count <= most ? [`${id} counted to ${reply.count} after ${most} was acknowledged`] : [];
    });
};

/** A request finds at least as many ids as had been acknowledged before it began. */
export const staleReads: Check = ({ operations }) => {
  const known = whatHadEnded(operations.filter(appends).filter(isAcknowledged), 0, (count) => count + 1);
  return operations.filter(isAcknowledged).flatMap(({ id, startedMs, outcome: { reply } }) => {
    const least = known(startedMs);
    return reply.length < least ? [`${id} found ${reply.length} ids after ${least} were acknowledged`] : [];
  });
};

/** Who only reads finds a counter that is not below what had been acknowledged before. */
export const staleCounts: Check = ({ operations }) => {
  const known = mostCounted(operations);
  return operations
    .filter(({ kind }) => kind === "read")
    .filter(isAcknowledged)
    .flatMap(({ id, startedMs, outcome: { reply } }) => {
      const least = known(startedMs);
      return reply.count < least ? [`${id} read ${reply.count} after ${least} was acknowledged`] : [];
    });
};

/** Each list that a request found is a beginning of the final list, and what it appended stands right behind. */
export const brokenPrefixes: Check = ({ operations, final }) => {
  const beginnings = beginningsOf(final.found);
  return operations.filter(isAcknowledged).flatMap((operation) => {
    const { id, outcome } = operation;
    const { length, digest } = outcome.reply;
    if (digest !== beginnings[length]) return [`${id} found ${length} ids that are no beginning of the list`];
    const next = final.found[length];
    return appends(operation) && next !== id ? [`${id} was appended to ${length} ids, where ${next} is`] : [];
  });
};

/**
 * How often the counter's history forks: two acknowledged requests counted on from the same value. Where the last
 * write wins, one side of each fork is lost, and there must have been a conflict event for it.
 */
export function forks({ operations }: SessionHistory): number {
  const children = new Map<string | undefined, number>();
  for (const { outcome } of operations.filter(counts).filter(isAcknowledged)) {
    children.set(outcome.reply.parent, (children.get(outcome.reply.parent) ?? 0) + 1);
  }
  return [...children.values()].reduce((sum, count) => sum + count - 1, 0);
}

/** How many acknowledged counts the final counter lacks at the least. */
export function lostCounts({ operations, final }: SessionHistory): number {
  return Math.max(0, operations.filter(counts).filter(isAcknowledged).length - final.count);
}

/** The highest number that had been counted to, and acknowledged, before a moment. */
const mostCounted = (operations: readonly Operation[]): ((beforeMs: number) => number) =>
  whatHadEnded(operations.filter(counts).filter(isAcknowledged), 0, (most, { outcome }) =>
    Math.max(most, outcome.reply.count),
  );

/** The value that the operations that had ended before a moment add up to. */
function whatHadEnded<T>(
  operations: readonly Acknowledged[],
  initial: T,
  add: (sum: T, operation: Acknowledged) => T,
): (beforeMs: number) => T {
  const byEnd = [...operations].sort((a, b) => a.endedMs - b.endedMs);
  const sums = [initial];
  for (const operation of byEnd) sums.push(add(sums.at(-1)!, operation));
  return (beforeMs) => sums[countBefore(byEnd, beforeMs)]!;
}

/** How many of the operations, in the order of their ends, ended before a moment; by bisection. */
function countBefore(byEnd: readonly Operation[], beforeMs: number): number {
  let least = 0;
  let most = byEnd.length;
  while (least < most) {
    const middle = (least + most) >> 1;
    if (byEnd[middle]!.endedMs < beforeMs) least = middle + 1;
    else most = middle;
  }
  return least;
}
