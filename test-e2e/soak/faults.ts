import { pause } from "@msm/conformance";
import type { App } from "../faults/bench.js";
import { isSticky } from "../faults/cell.js";
import { eachLimited } from "../faults/each-limited.js";
import { type Stage, standStill } from "../faults/row.js";
import { anyQuiet, askAndMeet, cutOff } from "../faults/rows/acts.js";
import type { TrackedSession } from "../faults/tracked-session.js";

import { operationTimeoutMs } from "./limits.js";

/** What a fault is done to. */
interface Target {
  /** A node that may fail now: every session has another place. */
  readonly node: string;
  /** A process; one that may be lost now, where `Fault.hits` says "process". */
  readonly app: App;
  readonly lastsMs: number;
  /** To be called when the process is about to be killed, or stopped: what it has not saved may be lost. */
  noteSilence(): void;
}

/** A fault that comes and goes while the load goes on. */
export interface Fault {
  /** Its row in the fault matrix: "F1" to "F28". */
  readonly id: string;
  /** What may be gone or silent meanwhile, and with it what it holds; "nothing" where all copies can be reached. */
  readonly hits: "node" | "process" | "nothing";
  /** A process does not come through it alive: the one whose memory is watched is spared. */
  readonly kills?: true;
  /** It makes no sense for less. Default 1000. */
  readonly leastMs?: number;
  /** Does it, and undoes it. */
  inject(stage: Stage, target: Target): Promise<void>;
}

/** msm's default lease lives 3 s. */
const pastLeaseMs = 3500;

/** The faults of a soak. */
export const faults: readonly Fault[] = [
  { id: "F1", hits: "node", inject: killNode },
  { id: "F2", hits: "node", inject: restartNode },
  { id: "F3", hits: "node", inject: hangNode },
  { id: "F4", hits: "node", inject: slowNode },
  { id: "F5", hits: "node", inject: cutReplies },
  { id: "F6", hits: "node", inject: holdAll },
  { id: "F7", hits: "node", inject: flap },
  { id: "F10", hits: "process", kills: true, inject: killHolder },
  { id: "F11", hits: "process", leastMs: pastLeaseMs, inject: pauseHolder },
  { id: "F12", hits: "nothing", inject: goAway },
  { id: "F14", hits: "node", inject: disagree },
  { id: "F15", hits: "node", inject: holdReplies },
  { id: "F17", hits: "node", inject: sleepThroughLogouts },
  { id: "F26", hits: "process", inject: blockHolder },
];

async function killNode({ bench }: Stage, { node, lastsMs }: Target): Promise<void> {
  const { server } = bench.node(node);
  await server.kill();
  await pause(lastsMs);
  await server.restart();
}

/** So quickly that few notice. */
async function restartNode({ bench }: Stage, { node, lastsMs }: Target): Promise<void> {
  await bench.node(node).server.restart();
  await pause(lastsMs);
}

async function hangNode({ bench }: Stage, { node, lastsMs }: Target): Promise<void> {
  const { server } = bench.node(node);
  await server.freeze();
  await pause(lastsMs);
  server.thaw();
}

/** Below the deadline of an operation, or above it. */
async function slowNode({ bench, random }: Stage, { node, lastsMs }: Target): Promise<void> {
  const proxies = bench.proxiesOf(node);
  const eachWayMs = random.pick([40, operationTimeoutMs * 0.7]);
  for (const proxy of proxies) proxy.delay(eachWayMs);
  await pause(lastsMs);
  for (const proxy of proxies) proxy.pass();
}

const cuts = 50;

async function cutReplies({ bench, random }: Stage, { node, lastsMs }: Target): Promise<void> {
  const proxies = bench.proxiesOf(node);
  for (let cut = 0; cut < cuts; cut++) {
    random.pick(proxies).cutAfter(random.between(1, 700), random.pick(["fin", "rst"]));
    await pause(lastsMs / cuts);
  }
  for (const proxy of proxies) proxy.pass();
}

type Proxies = ReturnType<Stage["bench"]["proxiesOf"]>;

async function hold(
  proxies: Proxies,
  { lastsMs }: Target,
  ...directions: readonly ("requests" | "replies")[]
): Promise<void> {
  for (const proxy of proxies) proxy.hold(...directions);
  await pause(lastsMs);
  for (const proxy of proxies) proxy.pass();
}

function holdAll({ bench }: Stage, target: Target): Promise<void> {
  return hold(bench.proxiesOf(target.node), target);
}

function holdReplies({ bench }: Stage, target: Target): Promise<void> {
  return hold(bench.proxiesOf(target.node), target, "replies");
}

const flaps = 4;

async function flap({ bench }: Stage, { node, lastsMs }: Target): Promise<void> {
  const proxies = bench.proxiesOf(node);
  for (let at = 0; at < flaps; at++) {
    for (const proxy of proxies) cutOff(proxy);
    await pause(lastsMs / flaps / 2);
    for (const proxy of proxies) proxy.pass();
    await pause(lastsMs / flaps / 2);
  }
}

/** One process reaches the node, the other does not. */
async function disagree({ bench }: Stage, { node, app, lastsMs }: Target): Promise<void> {
  const proxy = bench.proxy(app.name, node);
  cutOff(proxy);
  await pause(lastsMs);
  proxy.pass();
}

async function killHolder(stage: Stage, { app, lastsMs, noteSilence }: Target): Promise<void> {
  await meetHolder(stage, app, { thinkMs: 1000 });
  noteSilence();
  await app.kill();
  await pause(lastsMs);
  await app.start();
}

async function pauseHolder(stage: Stage, { app, lastsMs, noteSilence }: Target): Promise<void> {
  await meetHolder(stage, app, { thinkMs: 1000 });
  noteSilence();
  await standStill(stage, app, lastsMs);
}

/** It stays in rotation: whoever comes there waits. */
async function blockHolder(stage: Stage, { app, lastsMs }: Target): Promise<void> {
  const fromMs = performance.now();
  const asked = await meetHolder(stage, app, { blockMs: lastsMs });
  await asked?.answered;
  stage.standstills.push({ app: app.name, fromMs, toMs: performance.now() });
}

/** A request whose handler runs now, and so holds the lease where there is one. */
async function meetHolder(stage: Stage, app: App, options: { thinkMs?: number; blockMs?: number }) {
  const isHis = (each: TrackedSession) => !isSticky(stage.cell) || each.app() === app;
  const session = anyQuiet(stage, isHis);
  return session && askAndMeet(stage, session, { ...options, via: app });
}

const leavingAtOnce = 5;

/** Clients that leave: one in its handler, the others in the line behind it, or wherever they are then. */
async function goAway(stage: Stage, { lastsMs }: Target): Promise<void> {
  const endMs = performance.now() + lastsMs;
  while (performance.now() < endMs) {
    const session = anyQuiet(stage);
    if (session === undefined) return;
    const leaving = Array.from({ length: leavingAtOnce }, (_, at) =>
      session.ask("append", { thinkMs: 400, patienceMs: at === 0 ? 300 : 100 }),
    );
    await Promise.all(leaving.map(({ answered }) => answered));
  }
}

const sleptThrough = 10;

/** A node comes back with records of sessions that were logged out meanwhile: it must not be believed. */
async function sleepThroughLogouts(stage: Stage, { node, lastsMs }: Target): Promise<void> {
  const { bench, population } = stage;
  const { server } = bench.node(node);
  await server.freeze();
  const known = population.dead.length;
  const leaving = Array.from({ length: sleptThrough }, () => anyQuiet(stage)).filter(
    (each) => each !== undefined,
  );
  await eachLimited([...new Set(leaving)], sleptThrough, (session) => session.logout());
  await pause(lastsMs);
  server.thaw();
  const names = new Set(leaving.map(({ name }) => name));
  const dead = population.dead.slice(known).filter(({ session }) => names.has(session.name));
  for (let again = 0; again < 2; again++) await Promise.all(dead.map((each) => population.probe(each)));
}
