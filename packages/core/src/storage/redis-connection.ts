import { once } from "node:events";
import type { Redis, RedisOptions } from "ioredis";
import type { MsmError } from "../errors.js";
import { RedisSender } from "./redis-command.js";
import type { RedisLibrary } from "./redis-encoding.js";
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

  /** The connection, where it is open. */
  get open(): OpenRedis | undefined {
    const current = this.#current;
    return current?.isReady === true && !current.isOver ? (current as OpenRedis) : undefined;
  }

  /**
   * Runs commands on the open connection, or opens one. Where an answer makes no sense, or came from a replica, the
   * connection ends with it: nothing behind it would be of use.
   * @throws MsmError MSM_ERR_STORAGE_*, or that of `drop()`
   */
  async use<T>(run: (redis: Redis, sender: RedisSender) => Promise<T>): Promise<T> {
    const opening = this.#opening();
    try {
      if (!opening.isReady) await opening.opened;
      const { redis, sender } = opening as OpenRedis;
      return await run(redis, sender);
    } catch (thrown) {
      throw opening.failed(thrown);
    }
  }

  /** Ends the connection with all its state; what is outstanding rejects with `error`. */
  drop(error: MsmError): void {
    const opening = this.#current;
    this.#current = undefined;
    opening?.end(error);
  }

  /** Like `drop()`; resolves when the socket is closed. */
  async end(error: MsmError): Promise<void> {
    const stream = this.#current?.redis?.stream;
    const closed = stream && !stream.closed && once(stream, "close");
    this.drop(error);
    await closed;
  }

  #opening(): Opening {
    if (this.#current?.isOver === false) return this.#current;
    const opening = new Opening((ended) => {
      if (this.#current === ended) this.#current = undefined;
    });
    this.#current = opening;
    opening.open(this.#address(), this.#hooks);
    return opening;
  }
}

/** What happens with each new connection. */
export interface ConnectionHooks {
  /** Rejects where the server is none that operations may go to; then the connection is not used. */
  readonly check?: (redis: Redis) => Promise<void>;
  /** Called once the connection is ready. */
  readonly onOpen?: (redis: Redis) => void;
}

/** A connection that takes commands. */
export interface OpenRedis {
  readonly redis: Redis;
  readonly sender: RedisSender;
  /** Gives the trouble that a command met, and ends the connection where that makes it useless. */
  failed(thrown: unknown): MsmError;
}

/** A connection from its first step to its end. */
class Opening {
  redis: Redis | undefined;
  sender: RedisSender | undefined;
  /** Whether it takes commands, or did. */
  isReady = false;
  /** Resolves when it takes commands. */
  opened: Promise<void> | undefined;
  readonly #onLost: (opening: Opening) => void;
  #endedBy: MsmError | undefined;

  constructor(onLost: (opening: Opening) => void) {
    this.#onLost = onLost;
  }

  get isOver(): boolean {
    const status = this.redis?.status;
    return this.#endedBy !== undefined || status === "close" || status === "end";
  }

  open(address: RedisAddress, hooks: ConnectionHooks): void {
    this.opened = this.#open(address, hooks);
  }

  failed(thrown: unknown): MsmError {
    const error = this.#endedBy ?? redisError(thrown);
    const isOfNoUse = !this.isReady || error.code === "MSM_ERR_STORAGE_PROTOCOL";
    if (isOfNoUse || isFromReplica(error)) this.#lost(error);
    return error;
  }

  end(error: MsmError): void {
    this.#endedBy ??= error;
    const { redis } = this;
    if (!redis || redis.status === "end") return;
    redis.disconnect();
    // disconnect() only says goodbye: a peer that is hung or cut off would keep the socket open.
    redis.stream?.destroy();
  }

  async #open(address: RedisAddress, hooks: ConnectionHooks): Promise<void> {
    const library = await import("ioredis");
    if (this.#endedBy) throw this.#endedBy;
    const redis = createClient(library, address);
    this.redis = redis;
    redis.on("error", (thrown) => this.#lost(redisError(thrown)));
    await redis.connect();
    await hooks.check?.(redis);
    if (this.#endedBy) throw this.#endedBy;
    this.sender = new RedisSender(redis, library);
    this.isReady = true;
    hooks.onOpen?.(redis);
  }

  /** ioredis would end the connection politely, and wait; after an error there is nothing to wait for. */
  #lost(error: MsmError): void {
    this.#onLost(this);
    this.end(error);
  }
}

function createClient({ Redis: Client }: RedisLibrary, { url, options }: RedisAddress): Redis {
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
