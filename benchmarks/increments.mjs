/**
 * 32 parallel increments of one session's counter: `node increments.mjs [--rounds 7]`. How many the client is told of,
 * how many are stored, and how long it takes in comparison with 32 of the same requests one after the other, in the same
 * run. msm's two processes are two managers, which know of each other no more than processes would; the peers' are processes.
 */

import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createSessionManager } from "@msm/core";
import { contestantsOf, frameworks, isPeerOnRedis } from "./contestants.mjs";
import { startNode } from "./nodes.mjs";
import { logIn, ServerProcess } from "./server-process.mjs";
import { msmOptions } from "./servers/settings.mjs";
import { median } from "./statistics.mjs";
import { tableHead, tableRow } from "./tables.mjs";
import { visit } from "./visit.mjs";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "7" } } });
const rounds = Number(values.rounds);
const many = 32;

/** @type {readonly { locking: "optimistic" | "all", mode: "sticky" | "non-sticky", processes: number }[]} */
const settings = [
  { locking: "optimistic", mode: "sticky", processes: 1 },
  ...["sticky", "non-sticky"].flatMap((mode) =>
    [1, 2].map((processes) => ({ locking: "all", mode, processes })),
  ),
];

console.log(
  tableHead(["", "processes", "storage", "work", "acknowledged", "stored", "refused", "of 32 in a row"]),
);
await measurePeers();
for (const program of ["memcached", "redis-server"]) await measureOn(program);

/** What teams use today, on one Redis. */
async function measurePeers() {
  const node = await startNode("redis-server");
  if (node === undefined) return console.log("| redis-server is not installed |");
  try {
    for (const peer of frameworks.flatMap((framework) => contestantsOf(framework).filter(isPeerOnRedis)))
      for (const workMs of [0, 5]) await measurePeer(peer, node.url, workMs);
  } finally {
    await node.end();
  }
}

async function measurePeer({ name, framework, sessions }, nodes, workMs) {
  const settings = { framework, sessions, nodes };
  const servers = await Promise.all([1, 2].map(() => ServerProcess.start(settings)));
  const path = workMs > 0 ? "/slow-write" : "/write";
  await tally({ name, processes: 2, storage: "redis-server", workMs }, (order) =>
    postAll(servers, path, order),
  );
  for (const server of servers) await server.end();
}

async function postAll(servers, path, order) {
  const [cookie = ""] = await logIn(servers[0], "small", 1);
  const turns = Array.from({ length: many }, (_, index) => servers[index % servers.length]);
  const increment = (server) => post(server, path, cookie);
  const { outcomes, elapsedMs } = await inOrder(order, turns, increment);
  const answered = await post(servers[0], "/write", cookie);
  return tallyOf(outcomes.filter((count) => count !== undefined).length, answered - 1, elapsedMs);
}

/** @returns {Promise<number | undefined>} what the counter says after it; undefined where the request failed */
async function post({ port }, path, cookie) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", headers: { cookie } });
  const body = await response.text();
  return response.ok ? Number(body) : undefined;
}

/** @param {"memcached" | "redis-server"} program */
async function measureOn(program) {
  const nodes = await Promise.all([startNode(program), startNode(program)]);
  try {
    if (nodes.includes(undefined)) return console.log(`| ${program} is not installed |`);
    const urls = nodes.map((node) => node?.url).join(",");
    for (const setting of settings)
      for (const workMs of [0, 5]) await measure(setting, program, urls, workMs);
  } finally {
    for (const node of nodes) await node?.end();
  }
}

async function measure({ locking, mode, processes }, storage, urls, workMs) {
  const managers = Array.from({ length: processes }, (_, index) => startManager(locking, mode, index, urls));
  // It increments nothing and has nothing in memory: it tells what the nodes have.
  const reader = startManager(locking, mode, processes, urls);
  const name = `msm ${mode}, ${locking}`;
  await tally({ name, processes, storage, workMs }, (order) => incrementAll(managers, reader, order, workMs));
  for (const manager of [...managers, reader]) await manager.close();
}

function startManager(locking, mode, index, nodes) {
  const options = msmOptions({ mode, locking }, nodes);
  return createSessionManager(mode === "sticky" ? { ...options, route: `app${index + 1}` } : options);
}

/** All at once with the same cookie, or one after the other with the newest, as a browser does. */
async function incrementAll(managers, reader, order, workMs) {
  const browser = { cookie: undefined };
  await visit(managers[0], browser, (attributes) => {
    attributes.n = 0;
  });
  const turns = Array.from({ length: many }, (_, index) => managers[index % managers.length]);
  const increment = async (attributes) => {
    if (workMs > 0) await pause(workMs);
    attributes.n += 1;
  };
  const { cookie } = browser;
  const once = (manager) => visit(manager, order === "at once" ? { cookie } : browser, increment);
  const { outcomes, elapsedMs } = await inOrder(order, turns, once);

  let stored = 0;
  await visit(reader, browser, ({ n }) => {
    stored = n;
  });
  return tallyOf(outcomes.filter((isStored) => isStored).length, stored, elapsedMs);
}

/** Does the same with each, all at once or in a row. */
async function inOrder(order, turns, increment) {
  const startedMs = performance.now();
  const outcomes = [];
  if (order === "at once") outcomes.push(...(await Promise.all(turns.map(increment))));
  else for (const turn of turns) outcomes.push(await increment(turn));
  return { outcomes, elapsedMs: performance.now() - startedMs };
}

function tallyOf(acknowledged, stored, elapsedMs) {
  return { acknowledged, stored, refused: many - acknowledged, elapsedMs };
}

/** Measures in turns, and prints a row. */
async function tally({ name, processes, storage, workMs }, run) {
  const tallies = [];
  // The first round makes the connections, and is not counted.
  for (let round = 0; round <= rounds; round += 1) {
    const inARow = await run("in a row");
    const atOnce = await run("at once");
    if (round > 0) tallies.push({ ...atOnce, ratio: atOnce.elapsedMs / inARow.elapsedMs });
  }
  const range = (key) => shown(tallies.map((one) => one[key]));
  const ratio = median(tallies.map((one) => one.ratio)).toFixed(2);
  const cells = [name, processes, storage, `${workMs} ms`];
  console.log(tableRow([...cells, range("acknowledged"), range("stored"), range("refused"), ratio]));
}

function shown(counts) {
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  return least === most ? String(least) : `${least} to ${most}`;
}
