import { pause, waitUntil } from "@msm/conformance";
import type { Ledger } from "../history/ledger.js";
import { isAcknowledged } from "../history/operation.js";
import type { Asked, CheckedSession } from "./checked-session.js";

/** What faults are done to, and how long they last. */
export interface FaultContext {
  readonly sessions: readonly CheckedSession[];
  readonly ledger: Ledger;
  /** The counter that a handler found, for each of those that told that they run. */
  readonly thinking: ReadonlyMap<string, number>;
  readonly leaseTtlMs: number;
}

/** What the faults showed. */
export interface FaultReport {
  pauses: number;
  /** For each kill of a holder: milliseconds until another request of the session was acknowledged. */
  readonly recoveriesMs: number[];
}

/** How long a handler takes that is to be hit: signals and scheduling take their time on a busy machine. */
const targetThinkMs = 1000;

/** How much longer than its lease a holder is stopped. */
const pauseBeyondLeaseMs = 1000;

/**
 * Stops and kills workers in the middle of a handler, in turn and session by session, until `isOver` says so. None is
 * left stopped or dead.
 */
export async function runFaults(context: FaultContext, isOver: () => boolean): Promise<FaultReport> {
  const report: FaultReport = { pauses: 0, recoveriesMs: [] };
  for (let turn = 0; !isOver(); turn++) {
    const session = context.sessions[turn % context.sessions.length]!;
    const holder = await findHolder(session, context, isOver);
    if (holder === undefined) break;
    if (turn % 2 === 0) {
      await pausePastLease(holder, context);
      report.pauses += 1;
    } else {
      report.recoveriesMs.push(await killAndRecover(session, holder, context));
    }
  }
  return report;
}

/** An operation whose handler runs now, and so holds the lease where there is one. */
async function findHolder(
  session: CheckedSession,
  { thinking }: FaultContext,
  isOver: () => boolean,
): Promise<Asked | undefined> {
  while (!isOver()) {
    const asked = session.ask("append", { thinkMs: targetThinkMs, tells: true });
    let isAnswered = false;
    void asked.answered.then(() => {
      isAnswered = true;
    });
    await waitUntil("the handler runs, or never will", () => isAnswered || thinking.has(asked.id), {
      timeoutMs: 30_000,
      everyMs: 2,
    });
    if (!isAnswered) return asked;
  }
  return undefined;
}

async function pausePastLease({ worker }: Asked, { leaseTtlMs }: FaultContext): Promise<void> {
  worker.pause();
  await pause(leaseTtlMs + pauseBeyondLeaseMs);
  worker.resume();
}

/** @returns milliseconds from the kill to the first acknowledged answer that cannot have come from before it */
async function killAndRecover(
  session: CheckedSession,
  { id, worker }: Asked,
  { ledger, thinking }: FaultContext,
): Promise<number> {
  const holderFound = thinking.get(id) ?? 0;
  const known = ledger.operations.length;
  const killedMs = performance.now();
  // Under a lock a waiter's count is above the holder's. Without one it need not be, but nobody waits either.
  const firstAfter = () =>
    ledger.operations
      .slice(known)
      .filter(isAcknowledged)
      .filter((operation) => operation.session === session.name)
      .find(({ startedMs, outcome }) => startedMs > killedMs || outcome.reply.count > holderFound);

  await worker.kill();
  await waitUntil(`${session.name} can be used again`, () => firstAfter() !== undefined, {
    timeoutMs: 30_000,
    everyMs: 5,
  });
  const recoveryMs = firstAfter()!.endedMs - killedMs;
  await worker.start();
  return recoveryMs;
}
