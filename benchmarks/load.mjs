/** Peers as processes, and the load they get. */
import { fork } from "node:child_process";
import autocannon from "autocannon";

/**
 * A peer's process.
 * @typedef {object} PeerProcess
 * @property {string} name
 * @property {number} port
 * @property {() => void} end
 *
 * What is asked.
 * @typedef {object} Workload
 * @property {string} name
 * @property {"GET" | "POST"} method
 * @property {string} path
 *
 * How a peer did. A request that got another answer than 2xx, or none, has failed.
 * @typedef {{ perSecond: number, answered: number, failed: number, latenciesMs: readonly number[] }} Outcome
 */

/** @type {readonly Workload[]} */
export const workloads = [
  { name: "read", method: "GET", path: "/read" },
  { name: "write", method: "POST", path: "/write" },
];

/**
 * Starts a peer.
 * @param {string} name
 * @param {string} [nodeUrl] of its storage node, where it needs one
 * @returns {Promise<PeerProcess>}
 */
export function startPeer(name, nodeUrl = "") {
  const child = fork(new URL("server.mjs", import.meta.url), [name, nodeUrl], {
    env: { ...process.env, NODE_ENV: "production" },
  });
  return new Promise((resolve, reject) => {
    child.once("exit", () => reject(new Error(`the server of "${name}" did not start`)));
    child.once("message", ({ port }) => resolve({ name, port, end: () => void child.kill() }));
  });
}

/**
 * Begins sessions.
 * @param {PeerProcess} peer
 * @param {number} count
 * @returns {Promise<string[]>} their Cookie headers
 */
export function logIn({ port }, count) {
  const visits = Array.from({ length: count }, async () => {
    const response = await fetch(`http://127.0.0.1:${port}/log-in`, { method: "POST" });
    await response.text();
    return response.headers.get("set-cookie")?.split(";")[0] ?? "";
  });
  return Promise.all(visits);
}

/**
 * Sends requests over as many keep-alive connections as there are cookies, one after the other on each.
 * @param {PeerProcess} peer
 * @param {Workload} workload
 * @param {readonly string[]} cookies one for each connection
 * @param {{ seconds: number } | { amount: number }} extent how long, or how many requests in all
 * @returns {Promise<Outcome>}
 */
export async function load({ port }, { method, path }, cookies, extent) {
  const left = [...cookies];
  const latenciesMs = [];
  const startedMs = performance.now();
  let endedMs = startedMs;
  const run = autocannon({
    url: `http://127.0.0.1:${port}${path}`,
    method,
    connections: cookies.length,
    ...("seconds" in extent ? { duration: extent.seconds } : extent),
    // It looks only so often whether it is at its end.
    sampleInt: 50,
    setupClient: (client) => client.setHeaders({ cookie: left.pop() ?? "" }),
  });
  run.on("response", (_client, status, _bytes, latencyMs) => {
    endedMs = performance.now();
    if (status < 300) latenciesMs.push(latencyMs);
  });
  const { errors, timeouts, non2xx } = await run;
  const answered = latenciesMs.length;
  const perSecond = answered / ((endedMs - startedMs) / 1000);
  return { perSecond, answered, failed: errors + timeouts + non2xx, latenciesMs };
}

/** As `load()`, where every request has to be answered. */
export async function loadWithoutFailure(peer, workload, cookies, extent) {
  const outcome = await load(peer, workload, cookies, extent);
  if (outcome.failed > 0)
    throw new Error(`${peer.name}: ${outcome.failed} requests to ${workload.path} failed`);
  return outcome;
}

/** @param {readonly number[]} numbers */
export function median(numbers) {
  return quantile(numbers, 0.5);
}

/**
 * @param {readonly number[]} numbers
 * @param {number} part from 0 to 1
 */
export function quantile(numbers, part) {
  const sorted = [...numbers].sort((one, other) => one - other);
  const position = (sorted.length - 1) * part;
  const [below, above] = [sorted[Math.floor(position)] ?? 0, sorted[Math.ceil(position)] ?? 0];
  return below + (above - below) * (position - Math.floor(position));
}

/** A row of a Markdown table. */
export const tableRow = (cells) => `| ${cells.join(" | ")} |`;

/** The first two rows of a Markdown table. */
export const tableHead = (cells) => `${tableRow(cells)}\n|${"---|".repeat(cells.length)}`;
