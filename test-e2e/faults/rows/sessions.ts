import { pause, waitUntil } from "@msm/conformance";
import { isAcknowledged } from "../../history/operation.js";
import type { AppReport } from "../app-configuration.js";
import { isSticky } from "../cell.js";
import { eachLimited } from "../each-limited.js";
import { add, demand, type Row, type Stage } from "../row.js";
import { readCookie } from "../session-cookie.js";
import type { TrackedSession } from "../tracked-session.js";
import { askAndMeet, bothApps, cutOff } from "./acts.js";

/** Rows in which requests of one session meet each other, go away, or come at the moment at which it ends. */
export const sessionRows: readonly Row[] = [
  {
    id: "F12",
    title: "clients go away: in the handler, in the line",
    load: "none",
    inject: goAway,
  },
  {
    id: "F20",
    title: "10 at once over 2 processes; log-out meets a handler",
    load: "none",
    inject: meetAtOnce,
  },
  {
    id: "F21",
    title: "10 at once with an old cookie as the node is lost",
    load: "none",
    inject: burstAtRelocation,
  },
  {
    id: "F22",
    title: "log-in, and renewal, with parallel requests",
    load: "none",
    inject: changeIdsAtOnce,
  },
  {
    id: "F23",
    title: "requests at the very moment of expiry",
    bench: () => ({ options: { idleTimeoutMs } }),
    load: "none",
    inject: comeAtExpiry,
  },
];

async function goAway(stage: Stage): Promise<void> {
  const { population, bench } = stage;
  const sessions = await population.begin(20);
  await eachLimited(sessions, 10, async (session) => {
    for (let round = 0; round < 5; round++) {
      // One goes away in its handler, four in the line behind it, or wherever they are then.
      const leaving = [300, 100, 100, 100, 100].map((patienceMs) =>
        session.ask("append", { thinkMs: 400, patienceMs }),
      );
      const { outcome } = await session.ask("append").answered;
      if (outcome.kind !== "acknowledged") add(stage, "next refused", 1);
      await Promise.all(leaving.map(({ answered }) => answered));
      add(stage, "went away", leaving.length);
    }
  });
  const sum = async (count: (report: AppReport) => number) =>
    (await Promise.all(bench.apps.map((app) => bench.report(app)))).map(count).reduce((a, b) => a + b);
  const waiting = () => sum(({ waitingRequests }) => waitingRequests);
  await waitUntil("nobody waits any more", async () => (await waiting()) === 0).catch(async () => {
    stage.violations.push(`${await waiting()} requests wait though their clients are gone`);
  });
  await waitUntil("no handler runs", async () => (await sum(({ runningHandlers }) => runningHandlers)) === 0);
  await pause(1000); // what they changed last is saved without anybody to tell
  const last = await Promise.all(sessions.map((session) => session.ask("append").answered));
  const worked = last.filter(isAcknowledged).length;
  demand(stage, worked === last.length, `${last.length - worked} sessions cannot be used afterwards`);
}

async function meetAtOnce(stage: Stage): Promise<void> {
  const { population } = stage;
  const apps = bothApps(stage);
  const sessions = await population.begin(10);
  for (const session of sessions) {
    const asked = Array.from({ length: 10 }, (_, at) => session.ask("append", { via: apps[at % 2] }));
    const operations = await Promise.all(asked.map(({ answered }) => answered));
    add(stage, "counted at once", operations.filter(isAcknowledged).length);
  }

  const leaving = await population.begin(40);
  await eachLimited(leaving, 10, async (session) => {
    const asked = await askAndMeet(stage, session, { thinkMs: 500 });
    await session.logout();
    await asked?.answered;
    const dead = population.dead.find((each) => each.session === session);
    if (dead === undefined) return;
    add(stage, "logged out under a handler", 1);
    for (const app of apps) await population.probe(dead, app);
  });
}

async function burstAtRelocation(stage: Stage): Promise<void> {
  const { population, bench } = stage;
  const sessions = await population.begin(60);
  await Promise.all(sessions.map((session) => session.ask("append").answered));
  for (const proxy of bench.proxiesOf("n1")) cutOff(proxy);

  const hit = sessions.filter(({ cookie }) => readCookie(cookie!).node === "n1").slice(0, 10);
  const ids = hit.map(({ id }) => id);
  for (const session of hit) {
    const burst = Array.from({ length: 10 }, (_, at) => session.ask(at % 2 === 0 ? "append" : "read"));
    const operations = await Promise.all(burst.map(({ answered }) => answered));
    add(stage, "worked", operations.filter(isAcknowledged).length);
    add(stage, "did not", operations.filter((operation) => !isAcknowledged(operation)).length);
  }
  const kept = hit.filter(({ id }, at) => id === ids[at]).length;
  demand(stage, kept === hit.length, `${hit.length - kept} sessions have another id`);
  stage.counts.set("relocated", hit.filter(({ relocations }) => relocations > 0).length);
  for (const proxy of bench.proxiesOf("n1")) proxy.pass();
  await bench.allNodesUp();
}

async function changeIdsAtOnce(stage: Stage): Promise<void> {
  const { population, bench } = stage;
  const sessions = await population.begin(50);
  await Promise.all(sessions.map((session) => session.ask("append").answered));

  await eachLimited(sessions, 4, async (session) => {
    const reading = Array.from({ length: 5 }, () => session.ask("read"));
    const loggedIn = session.login();
    const late = Array.from({ length: 4 }, () => session.ask("read"));
    await Promise.all([loggedIn, ...[...reading, ...late].map(({ answered }) => answered)]);
    const after = await session.ask("append").answered;
    add(stage, "logged in", isAcknowledged(after) && after.outcome.reply.tag === session.name ? 1 : 0);
  });
  demand(stage, stage.counts.get("logged in") === sessions.length, "a user was logged out by a log-in");
  for (const dead of population.dead) {
    for (const app of bench.apps) await population.probe(dead, app);
  }

  await eachLimited(sessions, 4, async (session) => {
    const before = Array.from({ length: 4 }, () => session.ask("append"));
    const renewed = session.renew();
    const late = Array.from({ length: 4 }, () => session.ask("append"));
    await Promise.all([renewed, ...[...before, ...late].map(({ answered }) => answered)]);
    const after = await session.ask("append").answered;
    add(stage, "renewed", isAcknowledged(after) && after.outcome.reply.tag === session.name ? 1 : 0);
  });
  demand(stage, stage.counts.get("renewed") === sessions.length, "a user was logged out by a renewal");
}

const idleTimeoutMs = 3000;

async function comeAtExpiry(stage: Stage): Promise<void> {
  const { population, random, bench } = stage;
  const sessions = await population.begin(100);
  const appended = 3;
  await Promise.all(
    sessions.map(async (session) => {
      for (let at = 0; at < appended; at++) await session.ask("append").answered;
      await pause(idleTimeoutMs + random.between(-60, 60));
      await seeWholeOrNothing(stage, session, appended);
    }),
  );
  // memcached ends what it keeps on the whole second.
  if (stage.cell.storage === "memcached") stage.counts.set("resolution of the nodes", "1 s");
  if (isSticky(stage.cell)) stage.counts.set("processes", bench.apps.length);
}

/** Wholly there or wholly gone; never a session that lacks something. */
async function seeWholeOrNothing(stage: Stage, session: TrackedSession, appended: number): Promise<void> {
  const state = await session.state();
  const isWhole = state?.tag === session.name && state.found.length === appended && state.count === appended;
  demand(stage, state === undefined || isWhole, `${session.name} is there in part: ${JSON.stringify(state)}`);
  add(stage, state === undefined ? "gone" : "whole", 1);
  session.standing = "uncertain"; // it goes on expiring
}
