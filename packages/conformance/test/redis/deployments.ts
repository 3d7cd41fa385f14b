import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  findProgram,
  freePort,
  redisCommand,
  type ServerCommand,
  startServer,
  type TestServer,
  testClient,
  waitUntil,
} from "@msm/conformance";
import { createSessionManager, type SessionManagerOptions } from "@msm/core";
import { Redis } from "ioredis";

/** The name under which sentinels watch the servers here. */
const watchedName = "sessions";

/** A Redis deployment of a test's own, with a client for each of its servers. */
interface Deployment {
  readonly servers: readonly TestServer[];
  /** A client of a server, for what only an operator does. */
  admin(server: TestServer): Redis;
  close(): Promise<void>;
}

/** One master, its replicas, and sentinels that watch them. */
export interface SentinelDeployment extends Deployment {
  readonly sentinels: readonly TestServer[];
  /** `redis+sentinel://…` */
  readonly url: string;
  /** The server that the sentinels name as the master now. */
  master(): Promise<TestServer>;
}

/** Masters with all slots between them, and a replica of each where wanted. */
export interface ClusterDeployment extends Deployment {
  /** `redis+cluster://…` */
  readonly url: string;
  /** The servers that are masters now, as the first that answers sees it, and the slots that they have. */
  masters(): Promise<readonly ClusterMaster[]>;
}

interface ClusterMaster {
  readonly server: TestServer;
  readonly id: string;
  readonly slots: readonly (readonly [first: number, last: number])[];
}

const patiently = { timeoutMs: 30_000, everyMs: 50 };

/** Redis would wait 5 s for more replicas that come at the same time. */
const replicateAtOnce = ["--repl-diskless-sync-delay", "0"];

/** Starts one master, two replicas and three sentinels; resolves when they know each other. */
export async function startSentinels(...serverArguments: string[]): Promise<SentinelDeployment> {
  const scene = new Scene();
  try {
    const [first, ...replicas] = await scene.start(3, redisCommand(...replicateAtOnce, ...serverArguments));
    for (const replica of replicas) await scene.admin(replica).replicaof("127.0.0.1", first!.port);
    // Sentinels ask for replicas every 10 s: they should find them at the first time.
    await waitUntil("the replicas are in step", () => areInStep(scene.admin(first!)), patiently);
    const sentinels = await scene.start(3, sentinelCommand(scene, first!.port));
    await waitUntil(
      "the sentinels know each other and the replicas",
      async () => {
        const masters = await Promise.all(sentinels.map((sentinel) => watched(scene.admin(sentinel))));
        return masters.every(({ known, replicated }) => known === 2 && replicated === 2);
      },
      patiently,
    );
    const servers = [first!, ...replicas];
    return {
      servers,
      sentinels,
      url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",")}/${watchedName}`,
      admin: (server) => scene.admin(server),
      async master() {
        const { port } = await watched(scene.admin(sentinels[0]!));
        return servers.find((server) => server.port === port)!;
      },
      close: () => scene.close(),
    };
  } catch (error) {
    await scene.close();
    throw error;
  }
}

/** Starts three masters, and with `replicas` one replica of each; resolves when all slots are served. */
export async function startCluster(
  options: { readonly replicas?: boolean; readonly arguments?: readonly string[] } = {},
): Promise<ClusterDeployment> {
  const scene = new Scene();
  try {
    const count = options.replicas ? 6 : 3;
    const buses = await Promise.all(Array.from({ length: count }, freePort));
    const servers = await scene.start(count, clusterCommand(scene, buses, options.arguments ?? []));
    await formCluster(scene, servers);
    return {
      servers,
      url: `redis+cluster://${servers
        .slice(0, 3)
        .map(({ port }) => `127.0.0.1:${port}`)
        .join(",")}`,
      admin: (server) => scene.admin(server),
      masters: () => mastersOf(scene, servers),
      close: () => scene.close(),
    };
  } catch (error) {
    await scene.close();
    throw error;
  }
}

/** What a deployment has to be rid of in the end. */
class Scene {
  readonly folder = mkdtempSync(join(tmpdir(), "msm-redis-"));
  readonly #servers: TestServer[] = [];
  readonly #admins = new Map<TestServer, Redis>();

  async start(count: number, command: ServerCommand): Promise<TestServer[]> {
    const servers = await Promise.all(
      Array.from({ length: count }, async () => {
        const server = await startServer(command);
        this.#servers.push(server);
        return server;
      }),
    );
    return servers;
  }

  admin(server: TestServer): Redis {
    const known = this.#admins.get(server);
    if (known !== undefined) return known;
    const redis = new Redis(server.port, server.host, { retryStrategy: () => 50 });
    redis.on("error", () => undefined); // it is tried again
    this.#admins.set(server, redis);
    return redis;
  }

  async close(): Promise<void> {
    for (const redis of this.#admins.values()) redis.disconnect();
    await Promise.all(this.#servers.map((server) => server.close()));
    rmSync(this.folder, { recursive: true });
  }
}

const sentinelCommand =
  (scene: Scene, masterPort: number): ServerCommand =>
  (port) => {
    const path = join(scene.folder, `sentinel-${port}.conf`);
    const lines = [
      `port ${port}`,
      "bind 127.0.0.1",
      `dir ${scene.folder}`,
      `sentinel monitor ${watchedName} 127.0.0.1 ${masterPort} 2`,
      `sentinel down-after-milliseconds ${watchedName} 500`,
      `sentinel failover-timeout ${watchedName} 3000`,
    ];
    writeFileSync(path, `${lines.join("\n")}\n`);
    return [findProgram("redis-server") ?? "redis-server", path, "--sentinel"];
  };

/** What a sentinel says of the master. */
async function watched(sentinel: Redis) {
  const reply = (await sentinel.call("SENTINEL", "MASTER", watchedName)) as string[];
  const field = (name: string) => Number(reply[reply.indexOf(name) + 1]);
  return {
    port: field("port"),
    known: field("num-other-sentinels"),
    replicated: field("num-slaves"),
  };
}

async function areInStep(master: Redis): Promise<boolean> {
  const info = await master.info("replication");
  const offset = /master_repl_offset:(\d+)/.exec(info)?.[1];
  const replicas = [...info.matchAll(/^slave\d+:.*state=(\w+),offset=(\d+)/gm)];
  return replicas.length === 2 && replicas.every(([, state, at]) => state === "online" && at === offset);
}

function clusterCommand(scene: Scene, buses: number[], more: readonly string[]): ServerCommand {
  const busOf = new Map<number, number>();
  return (port) => {
    // Asked for again when a server is restarted: on the same port it is the same server.
    const bus = busOf.get(port) ?? buses.pop()!;
    busOf.set(port, bus);
    return redisCommand(
      ...["--cluster-enabled", "yes", "--cluster-port", String(bus)],
      ...["--cluster-config-file", join(scene.folder, `nodes-${port}.conf`)],
      ...["--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"],
      ...replicateAtOnce,
      ...more,
    )(port);
  };
}

async function formCluster(scene: Scene, servers: readonly TestServer[]): Promise<void> {
  const [first, ...others] = servers.map((server) => scene.admin(server));
  for (const [i, redis] of [first!, ...others].entries()) {
    if (i < 3) await redis.call("CLUSTER", "ADDSLOTSRANGE", ranges[i]![0], ranges[i]![1]);
    await redis.call("CLUSTER", "SET-CONFIG-EPOCH", i + 1);
  }
  for (const redis of others) await meet(redis, first!);
  await waitUntil(
    "the servers know each other",
    async () => {
      const known = await Promise.all([first!, ...others].map((redis) => clusterInfo(redis, "known_nodes")));
      return known.every((count) => count === String(servers.length));
    },
    patiently,
  );
  for (const [i, redis] of others.slice(2).entries()) {
    const master = [first!, ...others][i]!;
    await redis.call("CLUSTER", "REPLICATE", await idOf(master));
  }
  await waitUntil("the cluster works", async () => isWhole(scene, servers), patiently);
}

const ranges = [
  [0, 5460],
  [5461, 10_922],
  [10_923, 16_383],
] as const;

async function meet(redis: Redis, other: Redis): Promise<void> {
  const [host, bus] = /^\S+ (\S*):\d+@(\d+)/m.exec(await nodes(other, "myself"))!.slice(1);
  await redis.call("CLUSTER", "MEET", host || "127.0.0.1", String(other.options.port), bus!);
}

async function isWhole(scene: Scene, servers: readonly TestServer[]): Promise<boolean> {
  const states = servers.map(async (server) => {
    const redis = scene.admin(server);
    const replication = await redis.info("replication");
    const isLinked = !replication.includes("role:slave") || replication.includes("master_link_status:up");
    return isLinked && (await clusterInfo(redis, "state")) === "ok";
  });
  return (await Promise.all(states)).every(Boolean);
}

async function clusterInfo(redis: Redis, field: string): Promise<string | undefined> {
  return new RegExp(`^cluster_${field}:(\\S+)`, "m").exec(await redis.cluster("INFO"))?.[1];
}

/** The lines of CLUSTER NODES that have a flag. */
async function nodes(redis: Redis, flag: string): Promise<string> {
  const lines = String(await redis.cluster("NODES")).split("\n");
  return lines.filter((line) => line.split(" ")[2]?.split(",").includes(flag)).join("\n");
}

const idOf = async (redis: Redis) => (await nodes(redis, "myself")).split(" ")[0]!;

function isRunning(server: TestServer): boolean {
  try {
    return server.pid > 0;
  } catch {
    return false; // a server that was killed has no pid
  }
}

async function mastersOf(scene: Scene, servers: readonly TestServer[]): Promise<readonly ClusterMaster[]> {
  const running = servers.filter(isRunning);
  const lines = (await nodes(scene.admin(running[0]!), "master")).split("\n");
  return lines.flatMap((line) => {
    const [id, address, flags, , , , , , ...ranges] = line.split(" ");
    if (flags!.includes("fail")) return [];
    const port = Number(/:(\d+)@/.exec(address!)![1]);
    const slots = ranges
      .filter((range) => !range.startsWith("["))
      .map((range) => {
        const [first, last = first] = range.split("-").map(Number);
        return [first!, last!] as const;
      });
    const server = servers.find((each) => each.port === port)!;
    return slots.length === 0 ? [] : [{ server, id: id!, slots }];
  });
}

/** The ACL rules that docs/storages.md shows, with "secret" as the password: a user's, and what a cluster needs besides. */
export function documentedAcl(): { readonly user: readonly string[]; readonly cluster: readonly string[] } {
  const rules = documentation().matchAll(/^ACL SETUSER msm (.*(?:\n {4}.*)*)$/gm);
  const [user = [], cluster = []] = [...rules].map(([, rule]) =>
    rule!.split(/\s+/).map((part) => (part.startsWith(">") ? ">secret" : part)),
  );
  return { user, cluster };
}

/**
 * The values of `nodes` that docs/storages.md shows under a heading, in their order.
 * @param given the servers of a test in place of those named there, as `{ "redis1:6379": "127.0.0.1:port" }`, and values
 *   that the examples take from elsewhere
 */
export function documentedNodes(
  heading: string,
  given: {
    readonly servers: Readonly<Record<string, string>>;
    readonly values?: Readonly<Record<string, unknown>>;
  },
): SessionManagerOptions["nodes"][] {
  const section =
    documentation()
      .split(/^### /m)
      .find((text) => text.startsWith(`${heading}\n`)) ?? "";
  return [...section.matchAll(/^```js\nconst nodes = ([\s\S]*?);\n```$/gm)].map(([, example]) => {
    let code = example!;
    for (const [named, own] of Object.entries(given.servers)) {
      const [host, port] = own.split(":");
      const apart = `host: "${named.split(":")[0]}", port: ${named.split(":")[1]}`;
      code = code.replaceAll(named, own).replaceAll(apart, `host: "${host}", port: ${port}`);
    }
    const values = given.values ?? {};
    return new Function(...Object.keys(values), `return ${code};`)(...Object.values(values));
  });
}

const documentation = () =>
  readFileSync(fileURLToPath(new URL("../../../../docs/storages.md", import.meta.url)), "utf8");

/** Whether a manager with such nodes keeps a session. */
export async function keepsSessions(nodes: SessionManagerOptions["nodes"]): Promise<boolean> {
  const manager = createSessionManager({
    secret: "a secret of the test, of more than 32 bytes",
    operationTimeoutMs: 5000,
    ...(nodes !== undefined && { nodes }),
  });
  try {
    const visitor = testClient();
    await visitor.visit(manager, (attributes) => Object.assign(attributes, { n: 1 }));
    return (await visitor.visit(manager)).session?.attributes.n === 1;
  } finally {
    await manager.close();
  }
}
