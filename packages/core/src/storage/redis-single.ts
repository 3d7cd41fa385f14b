import { MsmError } from "../errors.js";
import { type Deadlines, deadlinesOf, withDeadline } from "./deadline.js";
import type { RedisDeployment } from "./redis-address.js";
import type { RedisCommand } from "./redis-command.js";
import { type OpenRedis, type RedisAddress, RedisConnection } from "./redis-connection.js";
import { isFromReplica, redirectionOf, reopenedError } from "./redis-errors.js";
import { RedisReleases } from "./redis-releases.js";
import { checkRole } from "./redis-role.js";
import { RedisSentinels } from "./redis-sentinels.js";
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
  readonly #sentinels: RedisSentinels | undefined;
  readonly #deadlines: Deadlines;
  /** Where the time of an operation is over, the connection ends: nothing behind a late reply is of use. */
  readonly #drop = (error: MsmError) => this.#main.drop(error);
  /** Of the server that the connection for operations was opened to last. */
  #run: unknown;
  #isClusterKnown = false;

  constructor(deployment: Exclude<RedisDeployment, { kind: "cluster" }>, parts: RedisServersParts) {
    this.#parts = parts;
    this.#deadlines = deadlinesOf(parts.timeoutMs);
    const { address, sentinels } = wayTo(deployment, parts.timeoutMs);
    this.#sentinels = sentinels;
    this.#releases = new RedisReleases(address);
    this.#main = new RedisConnection(address, {
      check: async (redis) => {
        this.#run = await checkRole(redis);
      },
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

  perform<T>(verb: string, command: RedisCommand, read: (reply: unknown) => T): Promise<T> {
    const { open } = this.#main;
    return open === undefined
      ? this.#performOpening(verb, command, read)
      : this.#performOn(open, verb, command, read);
  }

  /** Where the time is over, ioredis has what was sent reject, as the connection ends. */
  #performOn<T>(
    open: OpenRedis,
    verb: string,
    command: RedisCommand,
    read: (reply: unknown) => T,
  ): Promise<T> {
    const sent = open.sender.sendOnce(command);
    const deadline = this.#deadlines.start(`redis ${verb}`, this.#drop);
    const answered = (reply: unknown) => {
      deadline.settle();
      try {
        return read(reply);
      } catch (thrown) {
        throw open.failed(thrown);
      }
    };
    return sent.then(answered, async (thrown) => {
      try {
        return read(await open.sender.sendWhole(command, thrown));
      } catch (again) {
        throw this.#noted(open.failed(again));
      } finally {
        deadline.settle();
      }
    });
  }

  async #performOpening<T>(verb: string, command: RedisCommand, read: (reply: unknown) => T): Promise<T> {
    try {
      return await this.#within(verb, this.#main, async (_, sender) => read(await sender.send(command)));
    } catch (error) {
      throw this.#noted(error);
    }
  }

  #noted(error: unknown): unknown {
    if (error instanceof MsmError && redirectionOf(error) !== undefined) this.#warnOfCluster();
    return error;
  }

  async ping(): Promise<unknown> {
    void this.#followMaster();
    try {
      return await this.#within("ping", this.#forPing, checkRole);
    } catch (thrown) {
      const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
      // What is read there may be old, and goes on being read, as long as that connection lasts.
      if (isFromReplica(error)) this.#main.drop(error);
      throw error;
    }
  }

  get run(): unknown {
    return this.#run;
  }

  listen(leaseKey: string, listener: () => void): () => void {
    return this.#releases.listen(leaseKey, listener);
  }

  async close(error: MsmError): Promise<void> {
    const connections = [this.#main, this.#forPing, this.#releases];
    await Promise.all([...connections, this.#sentinels].map((connection) => connection?.end(error)));
  }

  /** Where the sentinels name another master, all connections are given up, and the next ones lead there. */
  async #followMaster(): Promise<void> {
    if (!(await this.#sentinels?.hasSwitched())) return;
    const error = new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "another server is the master now");
    this.#main.drop(error);
    this.#forPing.drop(error);
    this.#releases.renew(error);
  }

  /** Where the time is over, the connection ends: nothing behind a late reply is of use. */
  #within<T>(
    verb: string,
    connection: RedisConnection,
    run: Parameters<typeof connection.use<T>>[0],
  ): Promise<T> {
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

/** How the server is found, each time anew. */
interface Way {
  readonly address: () => RedisAddress;
  readonly sentinels?: RedisSentinels;
}

function wayTo(deployment: Exclude<RedisDeployment, { kind: "cluster" }>, timeoutMs: number): Way {
  if (deployment.kind === "sentinels") {
    const sentinels = new RedisSentinels(deployment, timeoutMs);
    return { address: () => sentinels.address(), sentinels };
  }
  const { url, options } = deployment;
  const address = { url, options: { connectTimeout: 2 * timeoutMs, ...options } };
  return { address: () => address };
}
