import { pause, waitUntil } from "@msm/conformance";
import { askWorker } from "../../processes/http-answer.js";
import { isSticky } from "../cell.js";
import { add, demand, faultTime, type Limits, type Row, type Stage } from "../row.js";
import type { TrackedSession } from "../tracked-session.js";
import { cutOff, mostRelocations } from "./acts.js";

/** Rows in which storage nodes die, hang and come back. */
export const nodeRows: readonly Row[] = [
  {
    id: "F1",
    title: "a node is killed, and stays away",
    async inject(stage) {
      await stage.bench.node("n1").server.kill();
      await faultTime(stage);
    },
    async after(stage) {
      stage.counts.set("relocations at most", mostRelocations(stage));
      await stage.bench.node("n1").server.restart();
    },
  },
  {
    id: "F2",
    title: "a node is killed and restarts empty",
    async inject(stage) {
      const { server } = stage.bench.node("n1");
      await server.kill();
      await faultTime(stage, 0.4);
      await server.restart();
      await faultTime(stage, 0.6);
    },
    async after(stage) {
      stage.counts.set("repaired", stage.bench.logs.count("repaired"));
    },
  },
  {
    id: "F3",
    title: "a node hangs (SIGSTOP), and goes on",
    async inject(stage) {
      const { server } = stage.bench.node("n1");
      await server.freeze();
      await faultTime(stage);
      server.thaw();
    },
    async after(stage) {
      stage.counts.set("repaired", stage.bench.logs.count("repaired"));
    },
  },
  {
    id: "F7",
    title: "a node flaps: 1 s up, 1 s down",
    async inject(stage) {
      const periodMs = Math.min(1000, stage.faultMs / 6);
      const flaps = Math.round(stage.faultMs / (2 * periodMs));
      for (let flap = 0; flap < flaps; flap++) {
        for (const proxy of stage.bench.proxiesOf("n1")) cutOff(proxy);
        await pause(periodMs);
        for (const proxy of stage.bench.proxiesOf("n1")) proxy.pass();
        await pause(periodMs);
      }
      stage.counts.set("flaps", flaps);
    },
    async after(stage) {
      const { logs, apps } = stage.bench;
      stage.counts.set("relocations at most", mostRelocations(stage));
      // Held down for longer each time: it is not believed as often as it comes back.
      stage.counts.set("times down", Math.max(...apps.map(({ name }) => logs.count("nodeDown", name))));
    },
  },
  {
    id: "F16a",
    title: "no node can be reached; then all, with their data",
    async inject(stage) {
      const proxies = stage.bench.nodes.flatMap(({ id }) => stage.bench.proxiesOf(id));
      for (const proxy of proxies) cutOff(proxy);
      await faultTime(stage, 0.5);
      await demandPlainPages(stage);
      await faultTime(stage, 0.5);
      for (const proxy of proxies) proxy.pass();
    },
    after: demandAllSaved,
  },
  {
    id: "F16b",
    title: "all nodes are killed; then all start empty",
    async inject(stage) {
      const { nodes } = stage.bench;
      await Promise.all(nodes.map(({ server }) => server.kill()));
      await faultTime(stage, 0.5);
      await demandPlainPages(stage);
      await faultTime(stage, 0.5);
      stage.counts.set("emptied at", Math.round(performance.now()));
      await Promise.all(nodes.map(({ server }) => server.restart()));
    },
    after: demandAllSaved,
    limits({ cell, counts }) {
      if (isSticky(cell)) return undefined;
      const emptiedMs = Number(counts.get("emptied at"));
      return {
        why: "where every node loses its data, non-sticky sessions are lost",
        mayGo: ({ sinceMs }) => sinceMs < emptiedMs,
      };
    },
  },
  {
    id: "F17",
    title: "a node sleeps through log-outs, and comes back",
    load: "none",
    inject: sleepThroughLogouts,
  },
  {
    id: "F18",
    title: "everything is restarted, one after the other",
    inject: restartEverything,
    limits: ({ cell, bench }) => untouchedBetween(restarts.get(bench) ?? [], isSticky(cell)),
  },
];

/** Pages without a session must not notice. */
async function demandPlainPages(stage: Stage): Promise<void> {
  for (const { line, name } of stage.bench.apps) {
    const answer = await askWorker(line, {
      ...{ method: "GET", path: "/plain", cookie: undefined, patienceMs: 10_000 },
    });
    const worked = answer.kind === "whole" && answer.status === 200;
    demand(stage, worked, `${name} does not serve a page without a session while the nodes are away`);
  }
}

/** What was kept in memory while no node was there is on the nodes a while after they are back. */
async function demandAllSaved(stage: Stage): Promise<void> {
  const { bench } = stage;
  await bench.allNodesUp();
  const backMs = performance.now();
  const unsaved = async () => {
    const reports = await Promise.all(bench.apps.map((app) => bench.report(app)));
    return reports.reduce((sum, { unsavedSessions }) => sum + unsavedSessions, 0);
  };
  await waitUntil("everything is saved", async () => (await unsaved()) === 0, { timeoutMs: 30_000 }).catch(
    async () => stage.violations.push(`${await unsaved()} sessions are still unsaved`),
  );
  if (isSticky(stage.cell)) stage.counts.set("ms until saved", Math.round(performance.now() - backMs));
}

/** How many sessions are logged out, and how many go on, while a node sleeps. */
const sleptThrough = 50;

async function sleepThroughLogouts(stage: Stage): Promise<void> {
  const { bench, population } = stage;
  const sessions = await population.begin(2 * sleptThrough);
  const { server } = bench.node("n1");
  await Promise.all(sessions.map((session) => session.ask("append").answered));
  await server.freeze();
  await Promise.all(sessions.slice(0, sleptThrough).map((session) => session.logout()));
  await Promise.all(sessions.slice(sleptThrough).map((session) => session.ask("append").answered));
  server.thaw();

  for (const again of ["at once", "later", "when it is up"]) {
    if (again === "later") await pause(500);
    if (again === "when it is up") await bench.allNodesUp();
    await Promise.all(population.dead.map((dead) => population.probe(dead)));
    await Promise.all(sessions.slice(sleptThrough).map((session) => session.ask("read").answered));
  }
  stage.counts.set("logged out", population.dead.length);
}

/** What was restarted last, and from when to when it was away, for each bench. */
const restarts = new WeakMap<object, Restart[]>();

interface Restart {
  readonly what: string;
  readonly fromMs: number;
  readonly toMs: number;
}

async function restartEverything(stage: Stage): Promise<void> {
  const { bench } = stage;
  const done: Restart[] = [];
  restarts.set(bench, done);
  const restart = async (what: string, work: () => Promise<void>) => {
    const fromMs = performance.now();
    await work();
    await bench.allNodesUp();
    done.push({ what, fromMs, toMs: performance.now() });
    // So long that the users come by once, most of them.
    await pause(Math.max(2000, stage.faultMs / 2));
  };
  for (const app of bench.apps) {
    await restart(app.name, async () => {
      await app.stop();
      await app.start();
    });
  }
  for (const { id, server } of bench.nodes) await restart(id, () => server.restart());
  add(stage, "restarts", done.length);
}

/** A copy is made again when its session is used: not at once, but before the answer to a request half a second later. */
const copiedWithinMs = 500;

/** Two restarts one right after the other lose the sessions that nobody used in between. */
function untouchedBetween(done: readonly Restart[], isStickyCell: boolean): Limits {
  const wasUsed = ({ usedMs }: TrackedSession, fromMs: number, toMs: number) =>
    usedMs.some((atMs) => atMs > fromMs && atMs < toMs - copiedWithinMs);
  return {
    why: isStickyCell
      ? "a process and a node that are restarted one right after the other lose what nobody used in between"
      : "two nodes that are restarted one right after the other lose what nobody used in between",
    mayGo: (session) =>
      done.some((restart, at) => {
        const next = done[at + 1];
        return next !== undefined && !wasUsed(session, restart.toMs, next.fromMs);
      }),
  };
}
