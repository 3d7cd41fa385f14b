/**
 * 32 parallel increments of one session's counter: `node increments.mjs [--rounds 7]`. How many the client is told of,
 * how many are stored, and how long it takes in comparison with 32 of the same requests one after the other, in the same
 * run. Two processes are two managers, which know of each other no more than processes would.
 */

import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { session } from "@msm/express";
import { startNode } from "./nodes.mjs";

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
  "| locking | mode | processes | storage | work | acknowledged | stored | refused | of 32 in a row |",
);
console.log("|---|---|---|---|---|---|---|---|---|");
for (const program of ["memcached", "redis-server"]) await measureOn(program);

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

async function measure({ locking, mode, processes }, program, urls, workMs) {
  const managers = Array.from({ length: processes }, (_, index) => startManager(locking, mode, index, urls));
  // It increments nothing and has nothing in memory: it tells what the nodes have.
  const reader = startManager(locking, mode, processes, urls);
  const tallies = [];
  // The first round makes the connections, and is not counted.
  for (let round = 0; round <= rounds; round += 1) {
    const inARow = await incrementAll(managers, reader, "in a row", workMs);
    const atOnce = await incrementAll(managers, reader, "at once", workMs);
    if (round > 0) tallies.push({ ...atOnce, ratio: atOnce.elapsedMs / inARow.elapsedMs });
  }
  for (const manager of [...managers, reader]) await manager.close();

  const range = (key) => shown(tallies.map((tally) => tally[key]));
  const ratio = median(tallies.map((tally) => tally.ratio)).toFixed(2);
  const cells = [locking, mode, processes, program, `${workMs} ms`];
  console.log(
    `| ${[...cells, range("acknowledged"), range("stored"), range("refused"), ratio].join(" | ")} |`,
  );
}

function startManager(locking, mode, index, nodes) {
  const secret = "not a secret, only long enough for its task";
  const own = mode === "sticky" ? { mode, route: `app${index + 1}` } : { mode };
  return session({ secret, nodes, locking, ...own }).manager;
}

/** All at once with the same cookie, or one after the other with the newest, as a browser does. */
async function incrementAll(managers, reader, order, workMs) {
  const browser = { cookie: undefined };
  await visit(managers[0], browser, (attributes) => {
    attributes.n = 0;
  });
  const { cookie } = browser;
  const turns = Array.from({ length: many }, (_, index) => managers[index % managers.length]);
  const increment = async (attributes) => {
    if (workMs > 0) await pause(workMs);
    attributes.n += 1;
  };

  const startedMs = performance.now();
  const outcomes = [];
  if (order === "at once") {
    outcomes.push(...(await Promise.all(turns.map((manager) => visit(manager, { cookie }, increment)))));
  } else {
    for (const manager of turns) outcomes.push(await visit(manager, browser, increment));
  }
  const elapsedMs = performance.now() - startedMs;

  let stored = 0;
  await visit(reader, { cookie }, ({ n }) => {
    stored = n;
  });
  const acknowledged = outcomes.filter((isStored) => isStored).length;
  return { acknowledged, stored, refused: many - acknowledged, elapsedMs };
}

/** One request, from its cookie to its answer. @returns {Promise<boolean>} whether the client is told that it worked */
async function visit(manager, browser, handler) {
  const cookieHeader = browser.cookie && `sid=${browser.cookie}`;
  try {
    const exchange = await manager.open({ method: "POST", url: "/", secure: false, cookieHeader });
    await handler(exchange.session.attributes);
    const { outcome } = await exchange.commit();
    browser.cookie = /^sid=([^;]*)/.exec(exchange.cookie() ?? "")?.[1] ?? browser.cookie;
    await exchange.end();
    return outcome === "stored";
  } catch (error) {
    if (error.status === 503 || error.status === 409) return false;
    throw error;
  }
}

function shown(counts) {
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  return least === most ? String(least) : `${least} to ${most}`;
}

function median(numbers) {
  const sorted = [...numbers].sort((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
