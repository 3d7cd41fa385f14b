import { MsmError } from "../errors.js";
import { RecentMap } from "../recent-map.js";
import { FoundAnswer, RecordVersion, StoredAnswer } from "./answers.js";
import { ownBytes } from "./own-bytes.js";
import { idleTimeoutMsOf, versionOf } from "./record-prefix.js";
import { type RedisServerOptions, readRedisDeployment } from "./redis-address.js";
import { RedisCluster } from "./redis-cluster.js";
import { RedisCommand } from "./redis-command.js";
import { isRefusal, isRefusalForNow, nonsense } from "./redis-errors.js";
import { EvictionWarnings } from "./redis-eviction.js";
import { redisScripts } from "./redis-scripts.js";
import type { RedisServers, RedisServersParts } from "./redis-servers.js";
import { SingleRedis } from "./redis-single.js";
import type { Lease, LoadOptions, LoadResult, SaveOptions, SaveResult, Storage } from "./storage.js";
import { checkKey, leaseKey, recordKey } from "./storage-keys.js";

export interface RedisStorageOptions {
  /**
   * `redis://[user:password@]host[:port][/db]`, `redis+sentinel://host:port,host:port/name`,
   * `redis+cluster://host:port,host:port`, the same with `rediss` for TLS; or `redis+unix:///path[?db=1]`, or the path of
   * a unix socket.
   */
  readonly url?: string;
  /** What else ioredis takes, or instead of `url`, e.g. `tls`, `password`, `sentinels` with `name`, or `cluster`. */
  readonly options?: RedisServerOptions;
  /** Deadline of each operation, connecting included, in milliseconds. Default 250. */
  readonly operationTimeoutMs?: number;
  /** Gets what the operator should know, once per server: that it may evict, or is part of a cluster. */
  readonly onWarning?: (message: string) => void;
}

/**
 * A storage node on a Redis server, behind Sentinels, or on a Redis Cluster, through ioredis. Redis 5 or later, or Valkey.
 *
 * Each operation is one command or one script; a load that finds that a record wants another time to live than before is two.
 * Two connections to each server, and one more once somebody waits for a lease.
 *
 * Operations reject with MSM_ERR_STORAGE_UNAVAILABLE (also where Redis is loading, a replica, or refuses the password), _TIMEOUT,
 * _PROTOCOL, _REFUSED (out of memory, not allowed), or MSM_ERR_CLOSED after `close()`.
 * @throws MsmError MSM_ERR_OPTION on an address that makes no sense
 */
export function redisStorage(options: RedisStorageOptions): Storage {
  return new RedisStorage(options);
}

/** Records whose time to live is remembered, of those used last. */
const mostRemembered = 8192;

class RedisStorage implements Storage {
  readonly kind = "redis";
  readonly #loaded: Promise<unknown>;
  readonly #servers: RedisServers;
  #isLoaded = false;
  /** Whether GETEX is known, and allowed, as far as the server has said. */
  #mayGetex = true;
  /** The time to live that a record wanted when it was loaded last, by its key. */
  readonly #wantedTtlMs = new RecentMap<string, number>(mostRemembered);
  #isClosed = false;

  constructor({ url, options, operationTimeoutMs = 250, onWarning = () => {} }: RedisStorageOptions) {
    const eviction = new EvictionWarnings(onWarning);
    const parts: RedisServersParts = {
      timeoutMs: operationTimeoutMs,
      onOpen: (redis) => void eviction.check(redis),
      onWarning,
    };
    const deployment = readRedisDeployment(url, options);
    this.#servers =
      deployment.kind === "cluster"
        ? new RedisCluster(deployment, parts)
        : new SingleRedis(deployment, parts);
    // Where it cannot be loaded, each connection says so.
    this.#loaded = import("ioredis").catch(() => undefined);
    void this.#loaded.then(() => {
      this.#isLoaded = true;
      if (!this.#isClosed) this.#servers.connect();
    });
  }

  load(key: string, { lease, renewTtlMs }: LoadOptions = {}): Promise<LoadResult> {
    if (lease !== undefined) return this.#loadWithLease(key, lease, renewTtlMs ?? 0);
    if (renewTtlMs !== undefined) return this.#loadAndRenew(key, renewTtlMs);
    return this.#perform("load", key, new RedisCommand("GET", 1, recordKey(key)), plainlyLoaded);
  }

  #loadWithLease(key: string, lease: Lease, renewTtlMs: number): Promise<LoadResult> {
    const { token } = lease;
    const [record, leased] = [recordKey(key), leaseKey(key)];
    const [ttl, renewed] = [whole(lease.ttlMs), whole(renewTtlMs)];
    const command = new RedisCommand(redisScripts.load, 2, record, leased, token, ttl, renewed);
    return this.#perform("load", key, command, loaded);
  }

  /**
   * GETEX costs a server far less than the script, but has to know what time to live the record wants: it is sent for those that
   * were seen before. A wrong time would last where the reply, and with it the second command, is lost.
   */
  #loadAndRenew(key: string, usualTtlMs: number): Promise<LoadResult> {
    const ttlMs = this.#mayGetex ? this.#wantedTtlMs.get(key) : undefined;
    if (ttlMs === undefined) return this.#loadByScript(key, usualTtlMs);
    const command = new RedisCommand("GETEX", 1, recordKey(key), "PX", whole(ttlMs));
    return this.#perform("load", key, command, plainlyLoaded).then(
      (result) => this.#renewedAsItWants(key, result, ttlMs, usualTtlMs),
      (thrown: unknown) => {
        if (!isRefusal(thrown)) throw thrown;
        this.#mayGetex = isRefusalForNow(thrown);
        return this.#loadByScript(key, usualTtlMs);
      },
    );
  }

  /** Another process may have given the session another idle timeout since. */
  #renewedAsItWants(
    key: string,
    result: LoadResult,
    givenTtlMs: number,
    usualTtlMs: number,
  ): LoadResult | Promise<LoadResult> {
    if (result.kind !== "found") return result;
    const wantedTtlMs = wantedIn(result.record, usualTtlMs);
    if (wantedTtlMs === givenTtlMs) return result;
    this.#wantedTtlMs.set(key, wantedTtlMs);
    return this.touch(key, wantedTtlMs).then(() => result);
  }

  #loadByScript(key: string, usualTtlMs: number): Promise<LoadResult> {
    const command = new RedisCommand(redisScripts.load, 1, recordKey(key), "", "0", whole(usualTtlMs));
    return this.#perform("load", key, command, (reply) => {
      const result = loaded(reply);
      if (result.kind === "found") this.#wantedTtlMs.set(key, wantedIn(result.record, usualTtlMs));
      return result;
    });
  }

  save(key: string, record: Uint8Array, ttlMs: number, options: SaveOptions): Promise<SaveResult> {
    const expected = options.expect === "absent" ? "" : options.expect.version;
    const token = options.unlock ?? "";
    const [bytes, ttl] = [asBuffer(record), whole(ttlMs)];
    const command =
      token === ""
        ? new RedisCommand(redisScripts.save, 1, recordKey(key), expected, bytes, ttl, token)
        : new RedisCommand(redisScripts.save, 2, recordKey(key), leaseKey(key), expected, bytes, ttl, token);
    return this.#perform("save", key, command, (code) => {
      if (code === 0) return new StoredAnswer(new RecordVersion(versionOf(record)));
      if (code === 1) return conflict;
      if (code === 2) return gone;
      throw nonsense();
    });
  }

  putIfNewer(key: string, record: Uint8Array, ttlMs: number): Promise<boolean> {
    const [name, bytes] = [redisScripts.putIfNewer, asBuffer(record)];
    const command = new RedisCommand(name, 1, recordKey(key), bytes, whole(ttlMs));
    return this.#perform("putIfNewer", key, command, isYes);
  }

  touch(key: string, ttlMs: number): Promise<boolean> {
    const command = new RedisCommand("PEXPIRE", 1, recordKey(key), whole(ttlMs));
    return this.#perform("touch", key, command, isYes);
  }

  renewLease(key: string, lease: Lease): Promise<boolean> {
    const ttl = whole(lease.ttlMs);
    const command = new RedisCommand(redisScripts.renewLease, 1, leaseKey(key), lease.token, ttl);
    return this.#perform("renewLease", key, command, isYes);
  }

  unlock(key: string, token: string): Promise<boolean> {
    const command = new RedisCommand(redisScripts.unlock, 1, leaseKey(key), token);
    return this.#perform("unlock", key, command, isYes);
  }

  onRelease(key: string, listener: () => void): () => void {
    return this.#isClosed ? () => {} : this.#servers.listen(leaseKey(key), listener);
  }

  async ping(): Promise<unknown> {
    await this.#ready();
    return this.#servers.ping();
  }

  get run(): unknown {
    return this.#servers.run;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#servers.close(closedError());
  }

  #perform<T>(verb: string, key: string, command: RedisCommand, read: (reply: unknown) => T): Promise<T> {
    try {
      checkKey(key);
      if (this.#isLoaded && !this.#isClosed) return this.#servers.perform(verb, command, read);
    } catch (refusal) {
      return Promise.reject(refusal);
    }
    return this.#ready().then(() => this.#servers.perform(verb, command, read));
  }

  /** The time of an operation begins when ioredis is loaded, which says nothing about the server. */
  async #ready(): Promise<void> {
    await this.#loaded;
    if (this.#isClosed) throw closedError();
  }
}

/** What the load script gave: {0} absent, {1, milliseconds} locked, {2, record, 1 where it is wanted} found. */
function loaded(reply: unknown): LoadResult {
  if (!Array.isArray(reply)) throw nonsense();
  const code: unknown = reply[0];
  const detail: unknown = reply[1];
  if (code === 0) return absent;
  if (code === 1 && typeof detail === "number") return { kind: "locked", retryAfterMs: Math.max(detail, 1) };
  if (code !== 2 || !Buffer.isBuffer(detail)) throw nonsense();
  return found(detail, reply[2] === 1);
}

const wantedIn = (record: Uint8Array, usualTtlMs: number) => idleTimeoutMsOf(record) || usualTtlMs;

/** What GET or GETEX gave. */
function plainlyLoaded(reply: unknown): LoadResult {
  if (reply === null) return absent;
  if (!Buffer.isBuffer(reply)) throw nonsense();
  return found(reply, false);
}

const found = (bytes: Buffer, isWanted: boolean) =>
  new FoundAnswer(ownBytes(bytes), new RecordVersion(versionOf(bytes)), isWanted);

// Once for all.
const absent = { kind: "absent" } as const;
const conflict = { kind: "conflict" } as const;
const gone = { kind: "gone" } as const;

function isYes(reply: unknown): boolean {
  if (reply === 1) return true;
  if (reply === 0) return false;
  throw nonsense();
}

const whole = (ms: number) => String(Math.ceil(ms));

const asBuffer = (record: Uint8Array) => Buffer.from(record.buffer, record.byteOffset, record.byteLength);

const closedError = () => new MsmError("MSM_ERR_CLOSED", "the redis storage is closed");
