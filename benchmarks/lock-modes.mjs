/** What each lock mode costs: requests a second, how long they take, and how often they ask the storage. */
import { LoadConnections, requestBytes } from "./load.mjs";
import { startNode } from "./nodes.mjs";
import { checkAnswered, logIn, ServerProcess } from "./server-process.mjs";
import { median, quantile } from "./statistics.mjs";
import { tableHead, tableRow } from "./tables.mjs";
import { startTripCounter } from "./trip-counter.mjs";

const connections = 16;
const contendedPerSecond = 400;
const countedRequests = 50;
const kinds = ["read", "write", "contended"];

/** Each mode of locking, sticky and not. */
const ways = ["sticky", "non-sticky"].flatMap((mode) =>
  ["optimistic", "none", "all", "auto", "app"].map((locking) => ({ mode, locking })),
);

/**
 * All ways on a kind of storage run at once and get their load in turns, as in `comparison.mjs`.
 * @param {{ rounds: number, seconds: number, serverCore: string | undefined }} extent
 */
export async function compareLockModes(extent) {
  const { rounds, seconds } = extent;
  console.log(
    `Lock modes: Express, ${connections} connections, one node, medians of ${rounds} slices of ${seconds} s, latencies in ms;`,
  );
  console.log(`contended: all on one session, in slices of ${contendedPerSecond * seconds} requests\n`);
  for (const program of ["redis-server", "memcached"]) await compareOn(program, extent);
}

async function compareOn(program, { rounds, seconds, serverCore }) {
  const node = await startNode(program);
  if (!node) return console.log(`${program} is not installed: its lock modes are left out\n`);
  /** @type {LockContender[]} */
  const contenders = [];
  try {
    const trips = [];
    for (const way of ways) trips.push(await countTrips(way, node.url));
    const how = (index) => ({ trips: trips[index], serverCore });
    const started = ways.map((way, index) => LockContender.start(way, node.url, how(index)));
    contenders.push(...(await Promise.all(started)));
    for (let round = 0; round <= rounds; round += 1) {
      for (const kind of kinds) {
        for (const contender of contenders) {
          const slice = await contender.measure(kind, seconds);
          if (round > 0) contender.slices[kind].push(slice);
        }
      }
    }
    print(program, contenders);
  } finally {
    for (const contender of contenders) await contender.end();
    await node.end();
  }
}

/** A way of locking that runs. */
class LockContender {
  #server;
  #connections;
  #requests;
  /** What was measured, by kind. */
  slices = { read: [], write: [], contended: [] };

  constructor({ mode, locking }, { server, connections: open, requests, trips }) {
    this.name = `${mode}, ${locking}`;
    this.trips = trips;
    this.#server = server;
    this.#connections = open;
    this.#requests = requests;
  }

  /** @param {{ trips?: Record<string, number>, serverCore?: string, count?: number }} how */
  static async start(way, nodes, { trips = {}, serverCore, count = connections }) {
    const settings = { framework: "express", sessions: { kind: "msm", ...way }, nodes };
    const server = await ServerProcess.start(settings, { core: serverCore });
    const cookies = await logIn(server, "small", count);
    const write = way.locking === "app" ? "/lock-and-write" : "/write";
    const requests = {
      read: cookies.map((cookie) => requestBytes("GET", "/read", cookie)),
      write: cookies.map((cookie) => requestBytes("POST", write, cookie)),
      contended: [requestBytes("POST", write, cookies[0])],
    };
    const open = await LoadConnections.open(server.port, count);
    const contender = new LockContender(way, { server, connections: open, requests, trips });
    contender.increment = () => increment(server.port, write, cookies[0]);
    return contender;
  }

  /** One slice. */
  async measure(kind, seconds) {
    if (kind === "contended") return this.#measureContended(Math.ceil(contendedPerSecond * seconds));
    return summary(await this.send(kind, { seconds }));
  }

  /** Sends requests that have to be answered. */
  async send(kind, extent) {
    const outcome = await this.#connections.run(this.#requests[kind], extent);
    checkAnswered(outcome, `${this.name}, ${kind}`);
    return outcome;
  }

  /** A number of requests and no time, so that none is under way when the counter is read. */
  async #measureContended(amount) {
    const before = await this.increment();
    const outcome = await this.#connections.run(this.#requests.contended, { amount });
    const kept = (await this.increment()) - before - 1;
    return { ...summary(outcome), refused: outcome.failed, lost: outcome.answered - kept };
  }

  async end() {
    this.#connections.close();
    await this.#server.end();
  }
}

/** @returns {Promise<number>} what the counter says after it */
async function increment(port, path, cookie) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", headers: { cookie } });
  return Number(await response.text());
}

const summary = ({ perSecond, latenciesMs }) => ({
  perSecond,
  p50: quantile(latenciesMs, 0.5),
  p99: quantile(latenciesMs, 0.99),
});

/**
 * Storage round trips of one request, with no other at the same time: in a process of its own, as what counts them costs
 * time.
 * @returns {Promise<Record<string, number>>} by kind
 */
async function countTrips(way, nodeUrl) {
  const counter = await startTripCounter(nodeUrl);
  const contender = await LockContender.start(way, counter.url, { count: 1 });
  try {
    const counts = {};
    for (const kind of ["read", "write"]) {
      // The first requests open connections, load scripts, and teach "auto" what it has to know.
      await contender.send(kind, { amount: 20 });
      const before = counter.trips();
      await contender.send(kind, { amount: countedRequests });
      counts[kind] = (counter.trips() - before) / countedRequests;
    }
    return counts;
  } finally {
    await contender.end();
    counter.end();
  }
}

function print(program, contenders) {
  const columns = (name) => [`${name}/s`, "p50", "p99", "trips"];
  console.log(tableHead([program, ...columns("write"), ...columns("read")]));
  for (const { name, slices, trips } of contenders) {
    const cells = ["write", "read"].flatMap((kind) => [...numbers(slices[kind]), trips[kind].toFixed(1)]);
    console.log(tableRow([name, ...cells]));
  }
  console.log(`\n${tableHead([`${program}, contended`, "write/s", "p50", "p99", "refused", "lost"])}`);
  for (const { name, slices } of contenders) {
    const middle = (key) => Math.round(median(slices.contended.map((slice) => slice[key])));
    console.log(tableRow([name, ...numbers(slices.contended), middle("refused"), middle("lost")]));
  }
  console.log();
}

function numbers(slices) {
  const middle = (key) => median(slices.map((slice) => slice[key]));
  return [Math.round(middle("perSecond")), middle("p50").toFixed(1), middle("p99").toFixed(1)];
}
