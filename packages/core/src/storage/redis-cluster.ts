import { setTimeout as pause } from "node:timers/promises";
import type { Redis } from "ioredis";
import { MsmError } from "../errors.js";
import { withDeadline } from "./deadline.js";
import type { HostAndPort, RedisDeployment } from "./redis-address.js";
import type { RedisCommand } from "./redis-command.js";
import { isReply, isSlotMoving, redirectionOf, reopenedError } from "./redis-errors.js";
import { RedisReleases } from "./redis-releases.js";
import { checkClusterState } from "./redis-role.js";
import { runOf } from "./redis-run.js";
import type { RedisServers, RedisServersParts } from "./redis-servers.js";
import { serverName, slotOf } from "./redis-slots.js";
import { RedisTopology, type Shard } from "./redis-topology.js";

/** While a slot is on its way, it is asked for again at this interval. */
const movingPauseMs = 10;
/** Two servers that send their clients to each other are asked ever more slowly after so many times. */
const quickRedirections = 3;

/**
 * A Redis Cluster. Each operation goes to the server that has the slot of its key, and follows it where it moved; two
 * connections to each server, as to a single one. A server that cannot be reached concerns its own slots only.
 *
 * ioredis' own Cluster is not used: it sends commands again for which nobody waits any more, and gives up neither a
 * connection that hangs, nor what waits on it.
 */
export class RedisCluster implements RedisServers {
  readonly #parts: RedisServersParts;
  readonly #topology: RedisTopology;
  readonly #releases: RedisReleases;
  /** Whose messages are listened to: each server of a cluster passes on what is published at any. */
  #listensTo: string | undefined;
  readonly #runs = new ClusterRun();

  constructor({ seeds, options }: Extract<RedisDeployment, { kind: "cluster" }>, parts: RedisServersParts) {
    this.#parts = parts;
    this.#topology = new RedisTopology({
      seeds,
      options,
      timeoutMs: parts.timeoutMs,
      check: async (server, redis) => this.#runs.note(serverName(server), await runOf(redis)),
      onOpen: (server, redis) => this.#opened(server, redis),
    });
    this.#releases = new RedisReleases(() => {
      const server = this.#topology.any();
      this.#listensTo = serverName(server);
      return this.#topology.addressOf(server);
    });
  }

  connect(): void {
    this.#topology.map().catch(() => undefined);
  }

  async perform<T>(verb: string, command: RedisCommand, read: (reply: unknown) => T): Promise<T> {
    const attempt: Attempt = { shard: undefined, isAsked: false, isOver: false };
    const follow = () => this.#follow(command, read, attempt);
    try {
      return await withDeadline(`redis ${verb}`, this.#parts.timeoutMs, follow, (error) => {
        attempt.isOver = true;
        if (attempt.isAsked) attempt.shard?.main.drop(error);
      });
    } catch (thrown) {
      throw ofItsPart(MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE"), attempt);
    }
  }

  /** Resolves where a server answers and says that the cluster works. */
  async ping(): Promise<unknown> {
    const { servers } = await this.#topology.map();
    const pings = [...servers].map(async ([name, server]) => [name, await this.#pingServer(server)] as const);
    const outcomes = await Promise.allSettled(pings);
    const answers = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    const failures = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    if (failures.length > 0) this.#topology.refresh().catch(() => undefined);
    if (answers.length === 0) throw failures[0];
    return this.#runs.after(answers, servers);
  }

  get run(): unknown {
    return this.#runs.current;
  }

  listen(leaseKey: string, listener: () => void): () => void {
    return this.#releases.listen(leaseKey, listener);
  }

  async close(error: MsmError): Promise<void> {
    await Promise.all([this.#topology.close(error), this.#releases.end(error)]);
  }

  /** Sends a command to whoever has its slot, until it was carried out or refused, or its time is over. */
  async #follow<T>(command: RedisCommand, read: (reply: unknown) => T, attempt: Attempt): Promise<T> {
    const slot = slotOf(command.parts[0]);
    let place: Place = { server: await this.#topology.ownerOf(slot), isAsking: false };
    for (let tries = 1; ; tries += 1) {
      const { server, isAsking } = place;
      const shard = this.#topology.shard(server);
      Object.assign(attempt, { shard, isAsked: true });
      try {
        return await shard.main.use(async (_, sender) => read(await sender.send(command, isAsking)));
      } catch (thrown) {
        const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
        attempt.isAsked = false;
        const next = attempt.isOver ? undefined : await this.#nextPlace(error, slot, server, tries);
        if (next === undefined || attempt.isOver) throw error;
        place = next;
      }
    }
  }

  /** Where to try again; undefined where that is of no use. */
  async #nextPlace(
    error: MsmError,
    slot: number,
    asked: HostAndPort,
    tries: number,
  ): Promise<Place | undefined> {
    const redirection = redirectionOf(error);
    if (redirection !== undefined) {
      const server = { host: redirection.host || asked.host, port: redirection.port };
      if (redirection.kind === "moved") await this.#noteMove(slot, server);
      if (tries > quickRedirections) await pause((tries - quickRedirections) * movingPauseMs);
      return { server, isAsking: redirection.kind === "ask" };
    }
    if (isSlotMoving(error)) {
      await pause(movingPauseMs);
      return { server: await this.#topology.ownerOf(slot), isAsking: false };
    }
    if (error.code !== "MSM_ERR_STORAGE_UNAVAILABLE" || isReply(error.cause)) return undefined;
    // The connection failed: a replica may have taken over. What was sent may be carried out twice, which is safe.
    const owner = (await this.#topology.refresh()).ownerOf(slot);
    const hasOther = owner !== undefined && serverName(owner) !== serverName(asked);
    return hasOther ? { server: owner, isAsking: false } : undefined;
  }

  async #noteMove(slot: number, server: HostAndPort): Promise<void> {
    (await this.#topology.map()).move(slot, server);
    // Slots rarely move alone.
    this.#topology.refresh().catch(() => undefined);
  }

  /** Gives what stands for the server's run. */
  #pingServer(server: HostAndPort): Promise<unknown> {
    const { forPing } = this.#topology.shard(server);
    const ask = async (redis: Redis) => {
      const [run] = await Promise.all([runOf(redis), checkClusterState(redis)]);
      return run;
    };
    const ping = () => forPing.use(ask);
    return withDeadline("redis ping", this.#parts.timeoutMs, ping, (error) => forPing.drop(error));
  }

  #opened(server: HostAndPort, redis: Redis): void {
    if (serverName(server) === this.#listensTo) this.#releases.renew(reopenedError());
    this.#parts.onOpen(redis);
  }
}

/** Where a command is sent next. */
interface Place {
  readonly server: HostAndPort;
  readonly isAsking: boolean;
}

/** One operation while it runs. */
interface Attempt {
  /** Who was asked last. */
  shard: Shard | undefined;
  /** Its answer is awaited. */
  isAsked: boolean;
  /** Nobody waits for it any more. */
  isOver: boolean;
}

/** Stands for the run of a whole cluster. */
class ClusterRun {
  /** What stands for the run of each server, by its name. */
  readonly #runs = new Map<string, unknown>();
  #current: object | undefined;

  /** Another object once a server restarted, or joined: what it holds may be gone, or old. Undefined before the first ping. */
  get current(): object | undefined {
    return this.#current;
  }

  /**
   * @param answers what stands for the runs of the servers that answered a ping, by their names
   * @param servers all that have slots: one that had none in between may have taken its data from another
   * @returns `current`
   */
  after(
    answers: readonly (readonly [string, unknown])[],
    servers: ReadonlyMap<string, unknown>,
  ): object | undefined {
    for (const name of this.#runs.keys()) if (!servers.has(name)) this.#runs.delete(name);
    if (answers.some(([name, run]) => this.#runs.get(name) !== run)) this.#current = {};
    for (const [name, run] of answers) this.#runs.set(name, run);
    return this.#current;
  }

  /** A server was connected to. What only the connection stands for is left to the next ping, which has its own. */
  note(name: string, run: unknown): void {
    const known = this.#runs.get(name);
    if (typeof run !== "string" || known === undefined || known === run) return;
    this.#runs.set(name, run);
    this.#current = {};
  }
}

/** Trouble with one server, unless it says that the whole cluster is in trouble. */
function ofItsPart(error: MsmError, { shard }: Attempt): MsmError {
  if (shard === undefined || !error.code.startsWith("MSM_ERR_STORAGE_")) return error;
  const words = error.message.slice(error.code.length + 2);
  return new MsmError(error.code, `${words} (${serverName(shard.server)})`, {
    cause: error.cause ?? error,
    isOfOnePart: !/the cluster is down/i.test(words),
  });
}
