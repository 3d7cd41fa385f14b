/**
 * `node scaling.mjs [--seconds 0.5] [--rounds 5]`: what changes where something grows: sessions in memory, processes, the size
 * of a session, and requests of one session at once. All of it on Redis.
 */
import { spawnSync } from "node:child_process";
import { cpus } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createSessionManager } from "@msm/core";
import { CookieJar } from "./cookie-jar.mjs";
import { LoadConnections, requestBytes } from "./load.mjs";
import { startNode } from "./nodes.mjs";
import { checkAnswered, logIn, ServerProcess } from "./server-process.mjs";
import { smallSession } from "./servers/handlers.mjs";
import { msmOptions } from "./servers/settings.mjs";
import { median } from "./statistics.mjs";
import { tableHead, tableRow } from "./tables.mjs";
import { visit } from "./visit.mjs";

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "0.5" }, rounds: { type: "string", default: "5" } },
});
const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)];

// What is garbage says nothing about what sessions need.
if (typeof globalThis.gc === "function") await measure();
else {
  const program = [fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  process.exitCode =
    spawnSync(process.execPath, ["--expose-gc", ...program], { stdio: "inherit" }).status ?? 1;
}

async function measure() {
  const node = await startNode("redis-server");
  if (node === undefined) return console.log("redis-server is not installed");
  try {
    console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model.trim()}\n`);
    await growLocalSessions(node.url);
    await growProcesses(node.url);
    await growSessions(node.url);
    await growConcurrency(node.url);
  } finally {
    await node.end();
  }
}

/** Sticky sessions in one process. Their nodes are elsewhere, so all that it gains in memory is theirs. */
async function growLocalSessions(nodes) {
  console.log(
    "Sticky sessions of 200 bytes in one process: reads and writes a second, 32 at a time, without HTTP\n",
  );
  console.log(
    tableHead(["sessions", "reads/s", "writes/s", "heap MB", "resident MB", "heap bytes a session"]),
  );
  const way = { mode: "sticky", locking: "optimistic" };
  // Compiled code is there before memory is looked at.
  await warmUp(way, nodes);
  const manager = open(way, nodes);
  const cookies = new CookieJar(100_000);
  const before = await usedMemory();
  for (const count of [1, 100, 10_000, 100_000]) {
    await begin(manager, cookies, count);
    const idle = await usedMemory();
    const [heap, resident] = [idle.heap - before.heap, idle.resident - before.resident];
    const reads = await rate(manager, cookies, ({ userName }) => userName);
    const writes = await rate(manager, cookies, increment);
    console.log(
      tableRow([count, reads, writes, megabytes(heap), megabytes(resident), Math.round(heap / count)]),
    );
  }
  await manager.close();
  console.log();
}

/** The load goes to all of them at once. */
async function growProcesses(nodes) {
  console.log(`Fastify, non-sticky, ${cpus().length} cores for processes, Redis and load together\n`);
  console.log(tableHead(["processes", "reads/s", "of one", "writes/s", "of one"]));
  const one = {};
  for (const count of [1, 2, 3]) {
    const settings = {
      framework: "fastify",
      sessions: { kind: "msm", mode: "non-sticky", locking: "optimistic" },
      nodes,
    };
    const servers = await Promise.all(Array.from({ length: count }, () => ServerProcess.start(settings)));
    const cookies = await logIn(servers[0], "small", 512);
    const reads = await rateOfAll(servers, cookies, "GET", "/read");
    const writes = await rateOfAll(servers, cookies, "POST", "/write");
    for (const server of servers) await server.end();
    one.reads ??= reads;
    one.writes ??= writes;
    const ratio = (now, then) => (now / then).toFixed(2);
    console.log(tableRow([count, reads, ratio(reads, one.reads), writes, ratio(writes, one.writes)]));
  }
  console.log();
}

/** A small attribute is used, whatever is beside it. */
async function growSessions(nodes) {
  console.log(
    "The size of a session, of which one small attribute is read or incremented: requests a second without HTTP\n",
  );
  const ways = [
    { mode: "sticky", locking: "optimistic" },
    { mode: "non-sticky", locking: "optimistic" },
  ];
  console.log(
    tableHead(["JSON bytes", ...ways.flatMap(({ mode }) => [`${mode} reads/s`, `${mode} writes/s`])]),
  );
  for (const bytes of [200, 1000, 10_000, 100_000]) {
    const cells = [];
    for (const way of ways) {
      const manager = open(way, nodes);
      const cookies = new CookieJar(100);
      await begin(manager, cookies, 100, bytes);
      cells.push(
        await rate(manager, cookies, ({ userName }) => userName),
        await rate(manager, cookies, increment),
      );
      await manager.close();
    }
    console.log(tableRow([bytes, ...cells]));
  }
  console.log();
}

/** Who is refused is told so: at most 32 wait in a process. */
async function growConcurrency(nodes) {
  console.log('Increments of one session at the same time, non-sticky, locking: "all", in one process\n');
  console.log(tableHead(["at once", "acknowledged", "refused", "lost", "ms", "ms for each acknowledged"]));
  const manager = open({ mode: "non-sticky", locking: "all" }, nodes);
  for (const many of [1, 8, 32, 100, 500]) {
    const runs = [];
    for (let round = 0; round <= rounds; round += 1) {
      const run = await incrementAtOnce(manager, many);
      if (round > 0) runs.push(run);
    }
    const middle = (key) => median(runs.map((run) => run[key]));
    const perOne = middle("elapsedMs") / middle("acknowledged");
    const counts = [middle("acknowledged"), many - middle("acknowledged"), middle("lost")];
    console.log(tableRow([many, ...counts, middle("elapsedMs").toFixed(1), perOne.toFixed(2)]));
  }
  await manager.close();
}

async function incrementAtOnce(manager, many) {
  const cookies = new CookieJar(1);
  await begin(manager, cookies, 1);
  const cookie = cookies.at(0);
  const startedMs = performance.now();
  const outcomes = await Promise.all(
    Array.from({ length: many }, () => visit(manager, { cookie }, increment)),
  );
  const elapsedMs = performance.now() - startedMs;
  const acknowledged = outcomes.filter((isStored) => isStored).length;
  let kept = 0;
  await visit(manager, { cookie }, ({ count }) => {
    kept = count;
  });
  return { acknowledged, lost: acknowledged - kept, elapsedMs };
}

function open(way, nodes) {
  return createSessionManager(msmOptions(way, nodes));
}

/** Begins sessions until there are so many. */
async function begin(manager, cookies, count, bytes = 200) {
  const values = sessionOf(bytes);
  await atATime(32, count - cookies.length, async () => {
    const browser = { cookie: undefined };
    await visit(manager, browser, (attributes) => void Object.assign(attributes, values));
    cookies.add(browser.cookie);
  });
}

/** A session of so many bytes of JSON, if it is 200 at least. */
function sessionOf(bytes) {
  const small = smallSession();
  const missing = bytes - JSON.stringify({ ...small, filling: "" }).length;
  return missing > 0 ? { ...small, filling: "x".repeat(missing) } : small;
}

async function warmUp(way, nodes) {
  const manager = open(way, nodes);
  const cookies = new CookieJar(2000);
  await begin(manager, cookies, 2000);
  await rate(manager, cookies, increment);
  await manager.close();
}

/** The median of some slices, whole requests a second. */
async function rate(manager, cookies, handler) {
  const rates = [];
  for (let round = 0; round < rounds; round += 1) {
    const startedMs = performance.now();
    const endsMs = startedMs + 1000 * seconds;
    let count = 0;
    const work = async () => {
      for (; performance.now() < endsMs; count += 1) {
        // A prime number apart, so that neighbours in memory are no neighbours in time.
        await visit(manager, { cookie: cookies.at((7919 * count) % cookies.length) }, handler);
      }
    };
    await Promise.all(Array.from({ length: Math.min(32, cookies.length) }, work));
    rates.push((1000 * count) / (performance.now() - startedMs));
  }
  return Math.round(median(rates));
}

async function rateOfAll(servers, cookies, method, path) {
  const requests = cookies.map((cookie) => requestBytes(method, path, cookie));
  const opened = servers.map(({ port }) => LoadConnections.open(port, Math.ceil(64 / servers.length)));
  const connections = await Promise.all(opened);
  const rates = [];
  for (let round = 0; round <= rounds; round += 1) {
    const outcomes = await Promise.all(connections.map((each) => each.run(requests, { seconds })));
    for (const outcome of outcomes) checkAnswered(outcome, path);
    if (round > 0) rates.push(outcomes.reduce((sum, { perSecond }) => sum + perSecond, 0));
  }
  for (const each of connections) each.close();
  return Math.round(median(rates));
}

async function atATime(most, count, work) {
  let left = count;
  const workers = Array.from({ length: Math.min(most, count) }, async () => {
    while (left > 0) {
      left -= 1;
      await work();
    }
  });
  await Promise.all(workers);
}

function increment(attributes) {
  attributes.count += 1;
}

/** After a while, when nothing is under way any more. */
async function usedMemory() {
  for (let times = 0; times < 3; times += 1) {
    await pause(300);
    globalThis.gc();
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, resident: rss };
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}
