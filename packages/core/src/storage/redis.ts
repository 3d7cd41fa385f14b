import type { RedisOptions } from "ioredis";
import { MsmError } from "../errors.js";
import { withDeadline } from "./deadline.js";
import { ownBytes } from "./own-bytes.js";
import { versionOf } from "./record-prefix.js";
import { RedisConnection } from "./redis-connection.js";
import { isFromReplica, redisError } from "./redis-errors.js";
import { RedisReleases } from "./redis-releases.js";
import type { ScriptedRedis } from "./redis-scripts.js";
import type { Lease, LoadOptions, LoadResult, SaveOptions, SaveResult, Storage } from "./storage.js";
import { leaseKey, storageKeys } from "./storage-keys.js";

export interface RedisStorageOptions {
  /** `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS, or the path of a unix socket. */
  readonly url?: string;
  /**
   * What ioredis takes besides or instead, e.g. `sentinels`, `tls`, `password`. What decides when something is sent
   * again is not theirs to change.
   */
  readonly options?: RedisOptions;
  /** Deadline of each operation, connecting included, in milliseconds. Default 250. */
  readonly operationTimeoutMs?: number;
  /** Gets what the operator should know, once per storage: a server that may evict, or does not tell. */
  readonly onWarning?: (message: string) => void;
}

/**
 * A storage node on a Redis server, or behind Sentinels, through ioredis. Redis 5 or later.
 *
 * Each operation is one command or one script. Uses one connection, another one for `ping()`, and a third once somebody
 * waits for a lease; the first is opened at once, each again when it is needed after it was lost. Operations reject with MSM_ERR_STORAGE_UNAVAILABLE (also
 * where Redis is loading, or a replica), _TIMEOUT, _PROTOCOL, _REFUSED (out of memory, not allowed), or MSM_ERR_CLOSED
 * after `close()`.
 */
export function redisStorage(options: RedisStorageOptions): Storage {
  return new RedisStorage(options);
}

class RedisStorage implements Storage {
  readonly kind = "redis";
  readonly #timeoutMs: number;
  readonly #loaded: Promise<unknown>;
  readonly #main: RedisConnection;
  readonly #forPing: RedisConnection;
  readonly #releases: RedisReleases;
  readonly #onWarning: ((message: string) => void) | undefined;
  #isPolicyKnown = false;
  #isClosed = false;

  constructor({ url, options = {}, operationTimeoutMs = 250, onWarning }: RedisStorageOptions) {
    this.#timeoutMs = operationTimeoutMs;
    this.#onWarning = onWarning;
    const address = { url, options: { connectTimeout: 2 * operationTimeoutMs, ...options } };
    this.#releases = new RedisReleases(address);
    this.#main = new RedisConnection(address, (redis) => {
      this.#releases.renew(reopenedError());
      // Who is warned only listens: what they throw is nobody's trouble here.
      this.#warnIfItEvicts(redis).catch(() => undefined);
    });
    this.#forPing = new RedisConnection(address);
    // Where it cannot be loaded, each connection says so.
    this.#loaded = import("ioredis").catch(() => undefined);
    // So that the first request finds the connection there. Whether it fails shows when it is used.
    this.#within("connect", this.#main, async () => undefined).catch(() => undefined);
  }

  async load(key: string, { lease, renewTtlMs }: LoadOptions = {}): Promise<LoadResult> {
    const keys = storageKeys(key);
    return this.#perform("load", async (redis) => {
      if (!lease && renewTtlMs === undefined) return loaded([2, await redis.getBuffer(keys.record)]);
      const { token = "", ttlMs = 0 } = lease ?? {};
      return loaded(
        await redis.msmLoadBuffer(keys.record, keys.lease, token, whole(ttlMs), whole(renewTtlMs ?? 0)),
      );
    });
  }

  async save(key: string, record: Uint8Array, ttlMs: number, options: SaveOptions): Promise<SaveResult> {
    const keys = storageKeys(key);
    const expected = options.expect === "absent" ? "" : options.expect.version;
    return this.#perform("save", async (redis) => {
      const token = options.unlock ?? "";
      const code = await redis.msmSave(
        keys.record,
        keys.lease,
        expected,
        asBuffer(record),
        whole(ttlMs),
        token,
      );
      if (code === 0) return { kind: "stored", revision: { version: versionOf(record) } };
      if (code === 1) return { kind: "conflict" };
      if (code === 2) return { kind: "gone" };
      throw nonsense();
    });
  }

  async putIfNewer(key: string, record: Uint8Array, ttlMs: number): Promise<boolean> {
    const keys = storageKeys(key);
    return this.#perform("putIfNewer", async (redis) =>
      isYes(await redis.msmPutIfNewer(keys.record, asBuffer(record), whole(ttlMs))),
    );
  }

  async touch(key: string, ttlMs: number): Promise<boolean> {
    const keys = storageKeys(key);
    return this.#perform("touch", async (redis) => isYes(await redis.pexpire(keys.record, whole(ttlMs))));
  }

  async renewLease(key: string, lease: Lease): Promise<boolean> {
    const keys = storageKeys(key);
    return this.#perform("renewLease", async (redis) =>
      isYes(await redis.msmRenewLease(keys.lease, lease.token, whole(lease.ttlMs))),
    );
  }

  async unlock(key: string, token: string): Promise<boolean> {
    const keys = storageKeys(key);
    return this.#perform("unlock", async (redis) => isYes(await redis.msmUnlock(keys.lease, token)));
  }

  onRelease(key: string, listener: () => void): () => void {
    return this.#releases.listen(leaseKey(key), listener);
  }

  ping(): Promise<unknown> {
    return this.#within("ping", this.#forPing, async (redis) => {
      if ((await redis.ping()) !== "PONG") throw nonsense();
      return redis; // a client is one connection
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const connections = [this.#main, this.#forPing, this.#releases];
    await Promise.all(connections.map((connection) => connection.end(closedError())));
  }

  #perform<T>(verb: string, run: (redis: ScriptedRedis) => Promise<T>): Promise<T> {
    return this.#within(verb, this.#main, run);
  }

  /**
   * Runs one operation on a connection. Where its time is over, or the answer makes no sense, the connection ends with
   * it: replies come in the order of the commands, so nothing behind a reply that is late, or wrong, is of use. The time
   * begins when ioredis is loaded, which says nothing about the server.
   */
  async #within<T>(
    verb: string,
    connection: RedisConnection,
    run: (redis: ScriptedRedis) => Promise<T>,
  ): Promise<T> {
    await this.#loaded;
    if (this.#isClosed) throw closedError();
    const start = async () => {
      try {
        return await connection.use(run);
      } catch (thrown) {
        const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
        if (error.code === "MSM_ERR_STORAGE_PROTOCOL" || isFromReplica(error)) connection.drop(error);
        throw error;
      }
    };
    return withDeadline(`redis ${verb}`, this.#timeoutMs, start, (error) => connection.drop(error));
  }

  /** Asks on each new connection until the server has told. */
  async #warnIfItEvicts(redis: ScriptedRedis): Promise<void> {
    if (this.#isPolicyKnown) return;
    const warning = await evictionWarning(redis);
    if (this.#isPolicyKnown || warning === "unknown yet") return;
    this.#isPolicyKnown = true;
    if (warning) this.#onWarning?.(warning);
  }
}

/** What the operator should know of the server's maxmemory-policy; undefined where all is well. */
async function evictionWarning(redis: ScriptedRedis): Promise<string | "unknown yet" | undefined> {
  try {
    const info = await redis.info("memory");
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
    if (policy === undefined) return untoldPolicy;
    if (policy === "noeviction") return undefined;
    return `Redis' maxmemory-policy is ${policy}: sessions and leases may vanish. Set it to noeviction.`;
  } catch (thrown) {
    // If the connection is at fault, the operations on it say so.
    return redisError(thrown).code === "MSM_ERR_STORAGE_REFUSED" ? untoldPolicy : "unknown yet";
  }
}

const untoldPolicy =
  "Redis does not tell its maxmemory-policy. It must be noeviction, or sessions and leases may vanish.";

/** What the load script gave: {0} absent, {1, milliseconds} locked, {2, record, 1 where it is wanted} found. */
function loaded(reply: unknown): LoadResult {
  if (!Array.isArray(reply)) throw nonsense();
  const [code, detail, wanted]: unknown[] = reply;
  if (code === 0 || (code === 2 && detail === null)) return { kind: "absent" };
  if (code === 1 && typeof detail === "number") return { kind: "locked", retryAfterMs: Math.max(detail, 1) };
  if (code === 2 && Buffer.isBuffer(detail)) {
    const revision = { version: versionOf(detail) };
    return { kind: "found", record: ownBytes(detail), revision, ...(wanted === 1 && { isWanted: true }) };
  }
  throw nonsense();
}

function isYes(reply: unknown): boolean {
  if (reply === 1) return true;
  if (reply === 0) return false;
  throw nonsense();
}

const whole = (ms: number) => Math.ceil(ms);

const asBuffer = (record: Uint8Array) => Buffer.from(record.buffer, record.byteOffset, record.byteLength);

const nonsense = () => new MsmError("MSM_ERR_STORAGE_PROTOCOL", "the reply is none that Redis gives");

const reopenedError = () =>
  new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "the connection for the operations had to be opened anew");

const closedError = () => new MsmError("MSM_ERR_CLOSED", "the redis storage is closed");
