import type { Redis } from "ioredis";
import { joinWrites } from "./join-writes.js";
import { commandHead, type RedisLibrary, type WholeCommand, wholeCommandOf } from "./redis-encoding.js";
import type { RedisScript } from "./redis-scripts.js";

/** What is sent to Redis, as a value: in a cluster it may have to be sent again, elsewhere. */
export class RedisCommand {
  readonly name: string | RedisScript;
  readonly keyCount: 1 | 2;
  readonly parts: readonly [key: string, ...(string | Buffer)[]];

  /**
   * @param name a command of Redis, or a script
   * @param keyCount how many keys it names, in one slot: that of a record, and that of its lease where it is needed
   * @param parts the keys, then the rest; texts have one byte per character
   */
  constructor(name: string | RedisScript, keyCount: 1 | 2, ...parts: [key: string, ...(string | Buffer)[]]) {
    this.name = name;
    this.keyCount = keyCount;
    this.parts = parts;
  }
}

/** Sends commands on one connection. Scripts go by their digests once they were sent. Texts in replies are buffers. */
export class RedisSender {
  readonly #redis: Redis;
  readonly #Command: WholeCommand;
  readonly #scripts = new Set<RedisScript>();

  /** @param library ioredis, whose client `redis` is */
  constructor(redis: Redis, library: RedisLibrary) {
    this.#redis = redis;
    this.#Command = wholeCommandOf(library);
  }

  /** @param isAsking whether the server is to answer though it does not own the slot yet, as the owner said that it may */
  send(command: RedisCommand, isAsking = false): Promise<unknown> {
    return this.sendOnce(command, isAsking).catch((thrown: unknown) =>
      this.sendWhole(command, thrown, isAsking),
    );
  }

  /** As `send`, without what follows on an error: see `sendWhole`. */
  sendOnce(command: RedisCommand, isAsking = false): Promise<unknown> {
    const { name, keyCount, parts } = command;
    const { length } = parts;
    if (typeof name === "string") return this.#write(name, commandHead(length, name), parts, isAsking);
    if (this.#scripts.has(name)) {
      const head = commandHead(length, "EVALSHA", name.sha1, String(keyCount));
      return this.#write("EVALSHA", head, parts, isAsking);
    }
    this.#scripts.add(name);
    return this.#write("EVAL", commandHead(length, "EVAL", name.lua, String(keyCount)), parts, isAsking);
  }

  /** The server has forgotten a script (SCRIPT FLUSH), or it was sent to one that did not carry it out. @throws any other trouble */
  sendWhole(command: RedisCommand, thrown: unknown, isAsking = false): Promise<unknown> {
    if (typeof command.name === "string" || !isNoScript(thrown)) throw thrown;
    this.#scripts.delete(command.name);
    return this.sendOnce(command, isAsking);
  }

  #write(name: string, head: string, parts: RedisCommand["parts"], isAsking: boolean): Promise<unknown> {
    if (this.#redis.stream !== undefined) joinWrites(this.#redis.stream);
    // If this fails, what stands behind it does as well, and says so.
    if (isAsking) this.#redis.call("ASKING").catch(() => undefined);
    return this.#redis.sendCommand(new this.#Command(name, head, parts)) as Promise<unknown>;
  }
}

const isNoScript = (thrown: unknown) => thrown instanceof Error && thrown.message.startsWith("NOSCRIPT");
