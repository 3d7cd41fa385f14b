import { once } from "node:events";
import type { Redis, RedisOptions } from "ioredis";
import type { MsmError } from "../errors.js";
import { isFromReplica, redisError } from "./redis-errors.js";

/** Where Redis is, and how ioredis gets there. */
export interface RedisAddress {
  readonly url?: string | undefined;
  readonly options: RedisOptions;
}

/**
 * One connection to Redis, opened when it is first needed, and again after it was lost.
 *
 * Each connection is an ioredis client of its own that never reconnects. ioredis' reconnecting keeps state across
 * connections: commands that it sends again, sockets that it only half closes and waits for, up to 2 s of them. A client
 * that is thrown away with its connection has none of that, and the next operation connects at once, not at the end of
 * some back-off; how often a node that is down is asked is the breaker's business, not ours.
 */
export class RedisConnection {
  readonly #address: () => RedisAddress;
  readonly #hooks: ConnectionHooks;
  #current: Opening | undefined;

  /** @param address asked for each connection anew */
  constructor(address: () => RedisAddress, hooks: ConnectionHooks = {}) {
    this.#address = address;
    this.#hooks = hooks;
  }

  /**
   * Runs commands on the open connection, or opens one. Where an answer makes no sense, or came from a replica, the
   * connection ends with it: nothing behind it would be of use.
   * @throws MsmError MSM_ERR_STORAGE_*, or that of `drop()`
   */
  async use<T>(run: (redis: Redis) => Promise<T>): Promise<T> {
    const opening = this.#opening();
    try {
      return await run(opening.ready ?? (await opening.promise));
    } catch (thrown) {
      const error = opening.endedBy ?? redisError(thrown);
      const isOfNoUse = opening.ready === undefined || error.code === "MSM_ERR_STORAGE_PROTOCOL";
      if (isOfNoUse || isFromReplica(error)) this.#lost(opening, error);
      throw error;
    }
  }

  /** Ends the connection with all its state; what is outstanding rejects with `error`. */
  drop(error: MsmError): void {
    const opening = this.#current;
    this.#current = undefined;
    if (opening) end(opening, error);
  }

  /** Like `drop()`; resolves when the socket is closed. */
  async end(error: MsmError): Promise<void> {
    const stream = this.#current?.redis?.stream;
    const closed = stream && !stream.closed && once(stream, "close");
    this.drop(error);
    await closed;
  }

  #opening(): Opening {
    if (this.#current && !isOver(this.#current)) return this.#current;
    const opening: Opening = { promise: this.#open(() => opening) };
    this.#current = opening;
    return opening;
  }

  async #open(self: () => Opening): Promise<Redis> {
    const redis = await createClient(this.#address());
    const opening = self();
    if (opening.endedBy) throw opening.endedBy;
    opening.redis = redis;
    redis.on("error", (thrown) => this.#lost(opening, redisError(thrown)));
    await redis.connect();
    await this.#hooks.check?.(redis);
    if (opening.endedBy) throw opening.endedBy;
    opening.ready = redis;
    this.#hooks.onOpen?.(redis);
    return redis;
  }

  /** ioredis would end the connection politely, and wait; after an error there is nothing to wait for. */
  #lost(opening: Opening, error: MsmError): void {
    if (this.#current === opening) this.#current = undefined;
    end(opening, error);
  }
}

/** What happens with each new connection. */
export interface ConnectionHooks {
  /** Rejects where the server is none that operations may go to; then the connection is not used. */
  readonly check?: (redis: Redis) => Promise<void>;
  /** Called once the connection is ready. */
  readonly onOpen?: (redis: Redis) => void;
}

/** A connection from its first step to its end. */
interface Opening {
  readonly promise: Promise<Redis>;
  redis?: Redis;
  /** The client, as soon as it takes commands. */
  ready?: Redis;
  endedBy?: MsmError;
}

const isOver = ({ redis, endedBy }: Opening) =>
  endedBy !== undefined || redis?.status === "close" || redis?.status === "end";

function end(opening: Opening, error: MsmError): void {
  opening.endedBy ??= error;
  const { redis } = opening;
  if (!redis || redis.status === "end") return;
  redis.disconnect();
  // disconnect() only says goodbye: a peer that is hung or cut off would keep the socket open.
  redis.stream?.destroy();
}

async function createClient({ url, options }: RedisAddress): Promise<Redis> {
  const { Redis: Client } = await import("ioredis");
  const settings = {
    // RESP2 is all that the scripts need, and every Redis speaks it.
    protocol: 2,
    disableClientInfo: true,
    // A server that still loads its data answers so itself, at once; the check would wait for it.
    enableReadyCheck: false,
    keepAlive: 10_000,
    // The next connection asks again, and another sentinel first.
    sentinelRetryStrategy: () => null,
    updateSentinels: false,
    ...options,
    lazyConnect: true,
    retryStrategy: null,
    reconnectOnError: null,
    // Nothing is ever sent twice, or later than its caller waits for: a command that may have been carried out is
    // its caller's to judge. The deadline is the storage's, as it also covers connecting (`deadline.ts`).
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    replyMapping: "legacy",
    keyPrefix: "",
  } as const satisfies RedisOptions;
  return url === undefined ? new Client(settings) : new Client(url, settings);
}
