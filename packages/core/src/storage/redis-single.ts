import type { Redis } from "ioredis";
import { MsmError } from "../errors.js";
import { withDeadline } from "./deadline.js";
import type { RedisDeployment } from "./redis-address.js";
import { type RedisCommand, sendCommand } from "./redis-command.js";
import { type RedisAddress, RedisConnection } from "./redis-connection.js";
import { isFromReplica, redirectionOf, reopenedError } from "./redis-errors.js";
import { RedisReleases } from "./redis-releases.js";
import { checkRole } from "./redis-role.js";
import type { RedisServers, RedisServersParts } from "./redis-servers.js";

/**
 * One Redis server, or the one that Sentinels name. Uses one connection, another one for `ping()`, and a third once
 * somebody waits for a lease; each is opened when it is needed, and again after it was lost.
 */
export class SingleRedis implements RedisServers {
  readonly #parts: RedisServersParts;
  readonly #main: RedisConnection;
  readonly #forPing: RedisConnection;
  readonly #releases: RedisReleases;
  #isClusterKnown = false;

  constructor(deployment: Exclude<RedisDeployment, { kind: "cluster" }>, parts: RedisServersParts) {
    this.#parts = parts;
    const address = addressOf(deployment, parts.timeoutMs);
    this.#releases = new RedisReleases(address);
    this.#main = new RedisConnection(address, {
      check: checkRole,
      onOpen: (redis) => {
        this.#releases.renew(reopenedError());
        parts.onOpen(redis);
      },
    });
    this.#forPing = new RedisConnection(address);
  }

  connect(): void {
    this.#within("connect", this.#main, async () => undefined).catch(() => undefined);
  }

  async perform<T>(verb: string, command: RedisCommand, read: (reply: unknown) => T): Promise<T> {
    try {
      return await this.#within(verb, this.#main, async (redis) => read(await sendCommand(redis, command)));
    } catch (error) {
      if (error instanceof MsmError && redirectionOf(error) !== undefined) this.#warnOfCluster();
      throw error;
    }
  }

  /** Gives the client of the connection: that is one connection to one server. */
  async ping(): Promise<Redis> {
    try {
      return await this.#within("ping", this.#forPing, async (redis) => {
        await checkRole(redis);
        return redis;
      });
    } catch (thrown) {
      const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
      // What is read there may be old, and goes on being read, as long as that connection lasts.
      if (isFromReplica(error)) this.#main.drop(error);
      throw error;
    }
  }

  listen(leaseKey: string, listener: () => void): () => void {
    return this.#releases.listen(leaseKey, listener);
  }

  async close(error: MsmError): Promise<void> {
    const connections = [this.#main, this.#forPing, this.#releases];
    await Promise.all(connections.map((connection) => connection.end(error)));
  }

  /** Where the time is over, the connection ends: nothing behind a late reply is of use. */
  #within<T>(verb: string, connection: RedisConnection, run: (redis: Redis) => Promise<T>): Promise<T> {
    const start = () => connection.use(run);
    return withDeadline(`redis ${verb}`, this.#parts.timeoutMs, start, (error) => connection.drop(error));
  }

  #warnOfCluster(): void {
    if (this.#isClusterKnown) return;
    this.#isClusterKnown = true;
    this.#parts.onWarning(
      "Redis is a cluster here, and must be configured as one: redis+cluster://host:port",
    );
  }
}

function addressOf(
  deployment: Exclude<RedisDeployment, { kind: "cluster" }>,
  timeoutMs: number,
): () => RedisAddress {
  const connectTimeout = 2 * timeoutMs;
  if (deployment.kind === "server") {
    const { url, options } = deployment;
    return () => ({ url, options: { connectTimeout, ...options } });
  }
  const { sentinels, options } = deployment;
  // Each attempt begins with another one: whoever hangs, is cut off, or has not heard of a failover yet, costs one attempt
  // at most. Within an attempt there is time to ask two that hang.
  const sentinelCommandTimeout = Math.ceil(timeoutMs / 3);
  let attempts = 0;
  return () => {
    const first = attempts++ % sentinels.length;
    const inTurn = [...sentinels.slice(first), ...sentinels.slice(0, first)];
    return { options: { connectTimeout, sentinelCommandTimeout, ...options, sentinels: inTurn } };
  };
}
