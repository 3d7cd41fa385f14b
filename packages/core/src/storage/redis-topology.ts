import type { Redis, RedisOptions } from "ioredis";
import { MsmError } from "../errors.js";
import { withDeadline } from "./deadline.js";
import type { HostAndPort } from "./redis-address.js";
import { type RedisAddress, RedisConnection } from "./redis-connection.js";
import { SlotMap, serverName } from "./redis-slots.js";

/** A server of a cluster, with the connections to it. */
export interface Shard {
  readonly server: HostAndPort;
  readonly main: RedisConnection;
  readonly forPing: RedisConnection;
}

export interface TopologyParts {
  readonly seeds: readonly HostAndPort[];
  readonly options: RedisOptions;
  readonly timeoutMs: number;
  /** Called before operations go through a new connection, and waited for. */
  readonly check: (server: HostAndPort, redis: Redis) => Promise<void>;
  /** Called with each new connection that operations go through. */
  readonly onOpen: (server: HostAndPort, redis: Redis) => void;
}

/** How many servers are asked at once who has which slot: one that hangs then holds nobody up. */
const askedAtOnce = 3;
/** Reading the map costs the servers more than any session does, and a failing one is noticed by every request. */
const refreshIntervalMs = 100;

/** Which servers a cluster has, and which of them has which slot, as far as is known; and the connections to them. */
export class RedisTopology {
  readonly #parts: TopologyParts;
  readonly #shards = new Map<string, Shard>();
  #map: SlotMap | undefined;
  #refreshing: Promise<SlotMap> | undefined;
  #refreshedAtMs = Number.NEGATIVE_INFINITY;
  #rounds = 0;
  #closedBy: MsmError | undefined;

  constructor(parts: TopologyParts) {
    this.#parts = parts;
  }

  /** The map as it was read last; read now where there is none. @throws MsmError where no server gives one */
  async map(): Promise<SlotMap> {
    return this.#map ?? this.#read();
  }

  /** Reads the map again, unless that was done a moment ago. @throws MsmError where no server gives one */
  async refresh(): Promise<SlotMap> {
    const isFresh = performance.now() - this.#refreshedAtMs < refreshIntervalMs;
    return this.#map !== undefined && isFresh ? this.#map : this.#read();
  }

  /** @throws MsmError where no server has the slot, or none gives the map */
  async ownerOf(slot: number): Promise<HostAndPort> {
    const owner = (await this.map()).ownerOf(slot) ?? (await this.refresh()).ownerOf(slot);
    if (owner !== undefined) return owner;
    throw new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", `no server of the Redis Cluster has slot ${slot}`, {
      isOfOnePart: true,
    });
  }

  /** @throws MsmError that of `close()` */
  shard(server: HostAndPort): Shard {
    if (this.#closedBy !== undefined) throw this.#closedBy;
    const name = serverName(server);
    const known = this.#shards.get(name);
    if (known !== undefined) return known;
    const address = () => this.addressOf(server);
    const { check, onOpen } = this.#parts;
    const shard = {
      server,
      main: new RedisConnection(address, {
        check: (redis) => check(server, redis),
        onOpen: (redis) => onOpen(server, redis),
      }),
      forPing: new RedisConnection(address),
    };
    this.#shards.set(name, shard);
    return shard;
  }

  /** How a server is reached that the cluster calls so. */
  addressOf(server: HostAndPort): RedisAddress {
    const { options, timeoutMs } = this.#parts;
    const { natMap } = options;
    const name = serverName(server);
    const seenFromHere = typeof natMap === "function" ? natMap(name) : natMap?.[name];
    return { options: { connectTimeout: 2 * timeoutMs, ...options, ...(seenFromHere ?? server) } };
  }

  /** Any of the servers, another one each time. */
  any(): HostAndPort {
    const servers = [...(this.#map?.servers.values() ?? this.#parts.seeds)];
    return servers[this.#rounds++ % servers.length]!;
  }

  async close(error: MsmError): Promise<void> {
    this.#closedBy = error;
    const connections = [...this.#shards.values()].flatMap(({ main, forPing }) => [main, forPing]);
    await Promise.all(connections.map((connection) => connection.end(error)));
  }

  #read(): Promise<SlotMap> {
    this.#refreshing ??= this.#readFromAny().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #readFromAny(): Promise<SlotMap> {
    const map = await firstOf(this.#nextToAsk().map((server) => this.#readFrom(server)));
    this.#map = map;
    this.#refreshedAtMs = performance.now();
    this.#forgetStrangers(map);
    return map;
  }

  /** The servers that are known and those that were configured, in turn. */
  #nextToAsk(): readonly HostAndPort[] {
    const seeds = this.#parts.seeds.map((seed) => [serverName(seed), seed] as const);
    const servers = [...new Map([...(this.#map?.servers ?? []), ...seeds]).values()];
    const first = this.#rounds++ % servers.length;
    return [...servers.slice(first), ...servers.slice(0, first)].slice(0, askedAtOnce);
  }

  #readFrom(server: HostAndPort): Promise<SlotMap> {
    const ask = async (redis: Redis) => {
      const map = SlotMap.read(await redis.call("CLUSTER", "SLOTS"), server);
      if (map.servers.size > 0) return map;
      throw new MsmError(
        "MSM_ERR_STORAGE_UNAVAILABLE",
        `${serverName(server)} knows of no slots of a cluster`,
      );
    };
    const connection = this.shard(server).main;
    const read = () => connection.use(ask);
    return withDeadline("redis cluster slots", this.#parts.timeoutMs, read, (error) =>
      connection.drop(error),
    );
  }

  /** A server that left the cluster is left alone, once what was sent to it last is over. */
  #forgetStrangers({ servers }: SlotMap): void {
    for (const [name, { main, forPing }] of this.#shards) {
      if (servers.has(name)) continue;
      this.#shards.delete(name);
      const end = () => {
        const error = new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", `${name} has no slots of the cluster`);
        for (const connection of [main, forPing]) connection.drop(error);
      };
      setTimeout(end, this.#parts.timeoutMs).unref();
    }
  }
}

async function firstOf<T>(promises: readonly Promise<T>[]): Promise<T> {
  try {
    return await Promise.any(promises);
  } catch (thrown) {
    throw thrown instanceof AggregateError ? thrown.errors[0] : thrown;
  }
}
