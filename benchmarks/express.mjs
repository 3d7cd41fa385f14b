/** Express with and without sessions, side by side in one run. */
import {
  loadWithoutFailure,
  logIn,
  median,
  quantile,
  startPeer,
  tableHead,
  tableRow,
  workloads,
} from "./load.mjs";
import { startNode } from "./nodes.mjs";
import { peers } from "./peers.mjs";

const connections = 64;

/**
 * All peers run at once, each in a process of its own, and get their load one after the other, in short slices, round by
 * round: a machine whose speed wanders then slows all of them alike. The first round only warms up.
 * @param {{ rounds: number, seconds: number }} extent
 */
export async function compareWithPeers({ rounds, seconds }) {
  const redis = await startNode("redis-server");
  const contestants = [];
  try {
    for (const { name, needsRedis } of peers) {
      if (needsRedis && !redis) continue;
      const peer = await startPeer(name, redis?.url);
      contestants.push({ peer, cookies: await logIn(peer, connections), slices: { read: [], write: [] } });
    }
    if (!redis) console.log("redis-server is not installed: the rows with Redis are left out");

    for (let round = 0; round <= rounds; round += 1) {
      for (const workload of workloads) {
        for (const { peer, cookies, slices } of contestants) {
          const { perSecond } = await loadWithoutFailure(peer, workload, cookies, { seconds });
          if (round > 0) slices[workload.name].push(perSecond);
        }
      }
    }
    console.log(
      `${connections} connections, medians of ${rounds} slices of ${seconds} s, ± half the middle half\n`,
    );
    for (const { name } of workloads) print(name, contestants);
  } finally {
    for (const { peer } of contestants) peer.end();
    await redis?.end();
  }
}

function print(workload, contestants) {
  const [bare, classic] = contestants;
  console.log(tableHead([workload, "requests/s", "±", "of bare Express", "of MemoryStore"]));
  for (const { peer, slices: own } of contestants) {
    const slices = own[workload];
    const perSecond = median(slices);
    const spread = (quantile(slices, 0.75) - quantile(slices, 0.25)) / 2 / perSecond;
    const ratio = (other) => (perSecond / median(other.slices[workload])).toFixed(2);
    const cells = [
      peer.name,
      Math.round(perSecond),
      `${Math.round(spread * 100)} %`,
      ratio(bare),
      ratio(classic),
    ];
    console.log(tableRow(cells));
  }
  console.log();
}
