/**
 * Express with and without sessions, side by side in one run: `node express.mjs [--rounds 7] [--seconds 2]`.
 * All peers run at once, each in a process of its own, and get their load one after the other, in short slices, round by
 * round: a machine whose speed wanders then slows all of them alike.
 */
import { fork } from "node:child_process";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import autocannon from "autocannon";
import { peers } from "./peers.mjs";
import { startRedis } from "./redis.mjs";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "7" }, seconds: { type: "string", default: "2" } },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const connections = 64;

const workloads = [
  { name: "read", method: "GET", path: "/read" },
  { name: "write", method: "POST", path: "/write" },
];

const redis = await startRedis();
const servers = [];
try {
  for (const peer of peers) if (redis || !peer.needsRedis) servers.push(await startServer(peer.name));
  if (!redis) console.log("redis-server is not installed: the rows with Redis are left out");

  for (const server of servers) server.cookies = await logIn(server);
  for (let round = 0; round <= rounds; round += 1) await runRound(round);
  print();
} finally {
  for (const { child } of servers) child.kill();
  await redis?.end();
}

/** Every peer once with each workload. The first round only warms up. */
async function runRound(round) {
  for (const workload of workloads) {
    for (const server of servers) {
      const perSecond = await measure(server, workload);
      if (round > 0) server.slices[workload.name].push(perSecond);
    }
  }
}

/** Requests a second, over as many keep-alive connections as there are sessions: each has its own. */
async function measure(server, { method, path }) {
  const cookies = [...server.cookies];
  const result = await autocannon({
    url: `http://127.0.0.1:${server.port}${path}`,
    method,
    connections,
    duration: seconds,
    setupClient(client) {
      client.setHeaders({ cookie: cookies.pop() ?? "" });
    },
  });
  const failed = result.errors + result.timeouts + result.non2xx;
  if (failed > 0) throw new Error(`${server.name}: ${failed} requests to ${path} failed`);
  return result.requests.total / result.duration;
}

/** One session for each connection. @returns {Promise<string[]>} the Cookie headers */
function logIn({ port }) {
  const visits = Array.from({ length: connections }, async () => {
    const response = await fetch(`http://127.0.0.1:${port}/log-in`, { method: "POST" });
    await response.text();
    return response.headers.get("set-cookie")?.split(";")[0] ?? "";
  });
  return Promise.all(visits);
}

function startServer(name) {
  const child = fork(new URL("server.mjs", import.meta.url), [name, redis?.url ?? ""], {
    env: { ...process.env, NODE_ENV: "production" },
  });
  return new Promise((resolve, reject) => {
    child.once("exit", () => reject(new Error(`the server of "${name}" did not start`)));
    child.once("message", ({ port }) =>
      resolve({ name, child, port, cookies: [], slices: { read: [], write: [] } }),
    );
  });
}

function print() {
  const [bare, classic] = servers;
  console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model.trim()}`);
  console.log(
    `${connections} connections, medians of ${rounds} slices of ${seconds} s, ± half the middle half\n`,
  );
  for (const { name } of workloads) {
    console.log(`| ${name} | requests/s | ± | of bare Express | of MemoryStore |\n|---|---|---|---|---|`);
    for (const server of servers) console.log(row(server, name, bare, classic));
    console.log();
  }
}

function row(server, workload, bare, classic) {
  const slices = server.slices[workload];
  const perSecond = median(slices);
  const spread = (quantile(slices, 0.75) - quantile(slices, 0.25)) / 2 / perSecond;
  const ratio = (other) => (perSecond / median(other.slices[workload])).toFixed(2);
  const cells = [
    server.name,
    Math.round(perSecond),
    `${Math.round(spread * 100)} %`,
    ratio(bare),
    ratio(classic),
  ];
  return `| ${cells.join(" | ")} |`;
}

function median(numbers) {
  return quantile(numbers, 0.5);
}

function quantile(numbers, part) {
  const sorted = [...numbers].sort((one, other) => one - other);
  const position = (sorted.length - 1) * part;
  const [below, above] = [sorted[Math.floor(position)] ?? 0, sorted[Math.ceil(position)] ?? 0];
  return below + (above - below) * (position - Math.floor(position));
}
