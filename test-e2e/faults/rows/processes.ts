import { waitUntil } from "@msm/conformance";
import { isAcknowledged } from "../../history/operation.js";
import type { App } from "../bench.js";
import { add, demand, type Row, type Stage, standStill } from "../row.js";
import type { Asked, TrackedSession } from "../tracked-session.js";
import { anyQuiet, askAndMeet, bothApps } from "./acts.js";

/** msm's default, which the bench leaves as it is. */
const leaseTtlMs = 3000;
const maxBackupLagMs = 250;

/** Rows in which application processes die, stand still, or get requests that are another's. */
export const processRows: readonly Row[] = [
  {
    id: "F10",
    title: "a process is killed in the middle of a handler",
    applies: () => true,
    inject: killHolders,
    limits: ({ cell, bench }) =>
      cell.mode === "sticky-async" ? unsavedAt(kills.get(bench) ?? []) : undefined,
  },
  {
    id: "F11",
    title: "a process stands still past its lease (SIGSTOP)",
    inject: pauseHolders,
  },
  {
    id: "F19",
    title: "a balancer sends a session here and there",
    applies: ({ mode }) => mode === "sticky",
    load: "none",
    inject: flip,
  },
  {
    id: "F26",
    title: "an event loop is blocked past its lease",
    inject: blockHolders,
  },
];

/** When processes were killed, for each bench. */
const kills = new WeakMap<object, number[]>();

async function killHolders(stage: Stage): Promise<void> {
  const { bench } = stage;
  const killedMs: number[] = [];
  const recoveries: number[] = [];
  kills.set(bench, killedMs);
  const endMs = performance.now() + stage.faultMs;
  for (let kill = 0; kill < 2 || performance.now() < endMs; kill++) {
    const app = bench.apps[kill % bench.apps.length]!;
    const session = anyQuiet(stage);
    const asked = session && (await askAndMeet(stage, session, { thinkMs: 1000, via: app }));
    if (session === undefined || asked === undefined) continue;
    killedMs.push(performance.now());
    await app.kill();
    recoveries.push(await recovery(session));
    await app.start();
  }
  stage.counts.set("kills", recoveries.length);
  stage.counts.set("recovery ms at most", Math.round(Math.max(0, ...recoveries)));
}

/** @returns milliseconds until the session can be used again */
async function recovery(session: TrackedSession): Promise<number> {
  const startedMs = performance.now();
  const works = async () => isAcknowledged(await session.ask("append").answered);
  await waitUntil(`${session.name} can be used again`, works, { timeoutMs: 30_000 });
  return performance.now() - startedMs;
}

/** What is known of a write comes a moment after the process has answered it. */
const clientLagMs = 250;

/** What may be lost where a process ends, or stands still, at such moments: what it had not saved. */
export function unsavedAt(killedMs: readonly number[]) {
  const wasUnsaved = (atMs: number) =>
    killedMs.some((killMs) => atMs > killMs - maxBackupLagMs - clientLagMs && atMs < killMs + clientLagMs);
  return {
    why: `with backup: "async", what changed in the last ${maxBackupLagMs} ms before a process is killed is lost`,
    mayLose: wasUnsaved,
    mayGo: ({ sinceMs }: TrackedSession) => wasUnsaved(sinceMs),
  };
}

async function pauseHolders(stage: Stage): Promise<void> {
  await pastLease(stage, async (session, app, other) => {
    const asked = await askAndMeet(stage, session, { thinkMs: 1000, via: app });
    if (asked === undefined) return undefined;
    const still = standStill(stage, app, leaseTtlMs + 2000);
    await recoverAt(session, other);
    await still;
    return asked;
  });
}

async function blockHolders(stage: Stage): Promise<void> {
  await pastLease(stage, async (session, app, other) => {
    const fromMs = performance.now();
    const asked = await askAndMeet(stage, session, { blockMs: leaseTtlMs + 1000, via: app });
    if (asked === undefined) return undefined;
    app.leaveRotation();
    await recoverAt(session, other);
    await asked.answered;
    app.joinRotation();
    stage.standstills.push({ app: app.name, fromMs, toMs: performance.now() });
    return asked;
  });
}

/** Does it once with each process, and again while there is time; counts what became of the requests that were hit. */
async function pastLease(
  stage: Stage,
  hit: (session: TrackedSession, app: App, other: App) => Promise<Asked | undefined>,
): Promise<void> {
  const { bench } = stage;
  const endMs = performance.now() + stage.faultMs;
  for (let round = 0; round < bench.apps.length || performance.now() < endMs; round++) {
    const [first, second] = bothApps(stage);
    const [app, other] = round % 2 === 0 ? [first, second] : [second, first];
    const session = anyQuiet(stage);
    const asked = session && (await hit(session, app, other));
    if (session === undefined || asked === undefined) continue;
    const { outcome } = await asked.answered;
    add(stage, `hit and ${outcome.kind}`, 1);
  }
}

/** Somebody else writes meanwhile. */
async function recoverAt(session: TrackedSession, other: App): Promise<void> {
  const works = async () => isAcknowledged(await session.ask("append", { via: other }).answered);
  await waitUntil(`${session.name} can be used elsewhere`, works, { timeoutMs: 30_000 });
}

const flips = 100;

async function flip(stage: Stage): Promise<void> {
  const { population } = stage;
  const apps = bothApps(stage);
  const sessions = await population.begin(20);
  let refused = 0;
  await Promise.all(
    sessions.map(async (session) => {
      for (let at = 0; at < flips; at++) {
        const operation = await session.ask("append", { via: apps[at % 2] }).answered;
        if (!isAcknowledged(operation)) refused += 1;
      }
    }),
  );
  demand(stage, refused === 0, `${refused} of ${flips * sessions.length} appends did not work`);
  stage.counts.set("flips", flips * sessions.length);
}
