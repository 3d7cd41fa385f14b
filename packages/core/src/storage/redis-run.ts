import type { Redis } from "ioredis";
import { isNotAllowed } from "./redis-errors.js";

/** Connections on which INFO was refused. */
const untold = new WeakSet<Redis>();

/** What each server called its own run, by connection: no connection outlives that. */
const ownNames = new WeakMap<Redis, string>();

/** What a server says in a section of INFO; "" where the user may not ask. @throws what ioredis rejects with */
export async function infoOf(redis: Redis, section: "replication" | "server"): Promise<string> {
  if (untold.has(redis)) return "";
  try {
    return String(await redis.info(section));
  } catch (thrown) {
    if (!isNotAllowed(thrown)) throw thrown;
    untold.add(redis);
    return "";
  }
}

/**
 * The name that a server gives itself anew whenever it starts. Where it does not tell, the connection stands for it, which
 * may also end for other reasons.
 * @throws what ioredis rejects with
 */
export async function runOf(redis: Redis): Promise<string | Redis> {
  const name = ownNames.get(redis) ?? /^run_id:(\w+)/m.exec(await infoOf(redis, "server"))?.[1];
  if (name !== undefined) ownNames.set(redis, name);
  return name ?? redis;
}
