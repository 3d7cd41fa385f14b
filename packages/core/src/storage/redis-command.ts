import type { Redis } from "ioredis";
import { joinWrites } from "./join-writes.js";
import type { RedisScript } from "./redis-scripts.js";

/** What is sent to Redis, as a value: in a cluster it may have to be sent again, elsewhere. */
export interface RedisCommand {
  /** A command of Redis, or a script. */
  readonly name: string | RedisScript;
  /** All in one slot: the key of a record, and that of its lease where the command needs it. */
  readonly keys: readonly [string, ...string[]];
  readonly args: readonly (string | number | Buffer)[];
}

/**
 * Sends a command. Scripts go by their digests once they were sent. Texts in the reply are buffers.
 * @param isAsking whether the server is to answer though it does not own the slot yet, as the owner said that it may
 */
export function sendCommand(redis: Redis, command: RedisCommand, isAsking = false): Promise<unknown> {
  const { name, keys, args } = command;
  const send = (...begin: [string, ...(string | number)[]]) => {
    if (redis.stream !== undefined) joinWrites(redis.stream);
    // If this fails, what stands behind it does as well, and says so.
    if (isAsking) redis.call("ASKING").catch(() => undefined);
    return redis.callBuffer(...begin, ...keys, ...args);
  };
  if (typeof name === "string") return send(name);
  const sent = scriptsSentOn(redis);
  const sendWhole = () => {
    sent.add(name);
    return send("EVAL", name.lua, keys.length);
  };
  if (!sent.has(name)) return sendWhole();
  return send("EVALSHA", name.sha1, keys.length).catch((thrown: unknown) => {
    // Forgotten (SCRIPT FLUSH), or it was sent to a server that did not carry it out.
    if (isNoScript(thrown)) return sendWhole();
    throw thrown;
  });
}

const sentOn = new WeakMap<Redis, Set<RedisScript>>();

function scriptsSentOn(redis: Redis): Set<RedisScript> {
  const known = sentOn.get(redis);
  if (known !== undefined) return known;
  const sent = new Set<RedisScript>();
  sentOn.set(redis, sent);
  return sent;
}

const isNoScript = (thrown: unknown) => thrown instanceof Error && thrown.message.startsWith("NOSCRIPT");
