import type { Redis } from "ioredis";
import { MsmError } from "../errors.js";
import { isNotAllowed, nonsense, redisError } from "./redis-errors.js";
import { infoOf, runOf } from "./redis-run.js";

/**
 * Asks whether a server answers, and is nobody's replica: a replica takes no writes, and what is read there may be old. Where
 * the user may not ask for that (INFO), the first refused write tells.
 * @returns what stands for its run: another one also where it has taken its data from another server since
 * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE on a replica, or what ioredis rejects with
 */
export async function checkRole(redis: Redis): Promise<unknown> {
  // PING as well: a server that still loads its data answers INFO.
  const [, info, run] = await Promise.all([ping(redis), infoOf(redis, "replication"), runOf(redis)]);
  if (/^role:slave/m.test(info)) {
    throw new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "READONLY the server is a replica");
  }
  const history = /^master_replid:(\w+)/m.exec(info)?.[1] ?? "";
  return typeof run === "string" ? `${run} ${history}` : run;
}

/** Where a server refuses writes, it may refuse this as well (MISCONF): it lives. */
async function ping(redis: Redis): Promise<void> {
  let reply: unknown;
  try {
    reply = await redis.ping();
  } catch (thrown) {
    if (redisError(thrown).code === "MSM_ERR_STORAGE_REFUSED") return;
    throw thrown;
  }
  if (reply !== "PONG") throw nonsense();
}

/**
 * Asks whether a server of a cluster answers, and thinks that the cluster works.
 * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where it does not think so, or what ioredis rejects with
 */
export async function checkClusterState(redis: Redis): Promise<void> {
  const state = await clusterState(redis);
  if (state === undefined) {
    await ping(redis);
  } else if (state !== "ok") {
    throw new MsmError(
      "MSM_ERR_STORAGE_UNAVAILABLE",
      `CLUSTERDOWN the cluster is down: its state is ${state}`,
    );
  }
}

/** Undefined where the user may not ask. */
async function clusterState(redis: Redis): Promise<string | undefined> {
  try {
    return /^cluster_state:(\w+)/m.exec(String(await redis.cluster("INFO")))?.[1] ?? "unknown";
  } catch (thrown) {
    if (isNotAllowed(thrown)) return undefined;
    throw thrown;
  }
}
