/** What each lock mode costs: requests a second, how long they take, and how often they ask the storage. */
import {
  load,
  loadWithoutFailure,
  logIn,
  median,
  quantile,
  startPeer,
  tableHead,
  tableRow,
  workloads,
} from "./load.mjs";
import { lockPeers } from "./lock-peers.mjs";
import { startNode } from "./nodes.mjs";
import { startTripCounter } from "./trip-counter.mjs";

const connections = 16;
const contendedPerSecond = 400;
const countedRequests = 50;
const [, write] = workloads;

/** In turn: each connection has its own session, then all have the same. */
const kinds = [...workloads.map(({ name }) => name), "contended"];

/**
 * All peers on a kind of storage run at once and get their load in turns, as in `express.mjs`.
 * @param {{ rounds: number, seconds: number }} extent
 */
export async function compareLockModes({ rounds, seconds }) {
  console.log(
    `Lock modes: ${connections} connections, one node, medians of ${rounds} slices of ${seconds} s, latencies in ms;`,
  );
  console.log(`contended: all on one session, in slices of ${contendedPerSecond * seconds} requests\n`);
  for (const program of ["redis-server", "memcached"]) await compareOn(program, { rounds, seconds });
}

async function compareOn(program, { rounds, seconds }) {
  const node = await startNode(program);
  if (!node) return console.log(`${program} is not installed: its lock modes are left out\n`);
  const contestants = [];
  try {
    for (const { name } of lockPeers) {
      const trips = await countTrips(name, node.url);
      const peer = await startPeer(name, node.url);
      const cookies = await logIn(peer, connections);
      contestants.push({ peer, cookies, trips, slices: { read: [], write: [], contended: [] } });
    }
    for (let round = 0; round <= rounds; round += 1) {
      for (const kind of kinds) {
        for (const contestant of contestants) {
          const slice = await measure(kind, contestant, seconds);
          if (round > 0) contestant.slices[kind].push(slice);
        }
      }
    }
    print(program, contestants);
  } finally {
    for (const { peer } of contestants) peer.end();
    await node.end();
  }
}

/** One slice. */
async function measure(kind, { peer, cookies }, seconds) {
  if (kind === "contended") return measureContended(peer, cookies[0], contendedPerSecond * seconds);
  const workload = workloads.find(({ name }) => name === kind);
  return summary(await loadWithoutFailure(peer, workload, cookies, { seconds }));
}

/** A number of requests and no time, so that none is under way when the counter is read. */
async function measureContended(peer, cookie, amount) {
  const before = await increment(peer, cookie);
  const cookies = Array.from({ length: connections }, () => cookie);
  const outcome = await load(peer, write, cookies, { amount });
  const kept = (await increment(peer, cookie)) - before - 1;
  return { ...summary(outcome), refused: outcome.failed, lost: outcome.answered - kept };
}

/** @returns {Promise<number>} what the counter says after it */
async function increment({ port }, cookie) {
  const response = await fetch(`http://127.0.0.1:${port}${write.path}`, {
    method: write.method,
    headers: { cookie },
  });
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
 * @returns {Promise<Record<string, number>>} by workload
 */
async function countTrips(name, nodeUrl) {
  const counter = await startTripCounter(nodeUrl);
  const peer = await startPeer(name, counter.url);
  try {
    const cookies = await logIn(peer, 1);
    const counts = {};
    for (const workload of workloads) {
      // The first requests open connections, load scripts, and teach "auto" what it has to know.
      await loadWithoutFailure(peer, workload, cookies, { amount: 20 });
      const before = counter.trips();
      await loadWithoutFailure(peer, workload, cookies, { amount: countedRequests });
      counts[workload.name] = (counter.trips() - before) / countedRequests;
    }
    return counts;
  } finally {
    peer.end();
    counter.end();
  }
}

function print(program, contestants) {
  const columns = (name) => [`${name}/s`, "p50", "p99", "trips"];
  console.log(tableHead([program, ...columns("write"), ...columns("read")]));
  for (const { peer, slices, trips } of contestants) {
    const cells = ["write", "read"].flatMap((kind) => [...numbers(slices[kind]), trips[kind].toFixed(1)]);
    console.log(tableRow([peer.name, ...cells]));
  }
  console.log(`\n${tableHead([`${program}, contended`, "write/s", "p50", "p99", "refused", "lost"])}`);
  for (const { peer, slices } of contestants) {
    const middle = (key) => Math.round(median(slices.contended.map((slice) => slice[key])));
    console.log(tableRow([peer.name, ...numbers(slices.contended), middle("refused"), middle("lost")]));
  }
  console.log();
}

function numbers(slices) {
  const middle = (key) => median(slices.map((slice) => slice[key]));
  return [Math.round(middle("perSecond")), middle("p50").toFixed(1), middle("p99").toFixed(1)];
}
