import {
  freshKey,
  freshToken,
  needsProgram,
  storageContract,
  type TestServer,
  testClient,
  testRecord,
  versionDigits,
  waitUntil,
} from "@msm/conformance";
import { createSessionManager, type MsmError, type RedisStorageOptions, redisStorage } from "@msm/core";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import {
  type ClusterDeployment,
  documentedAcl,
  documentedNodes,
  keepsSessions,
  startCluster,
} from "./deployments.js";
import { watchTraffic } from "./traffic.js";

const { skip, reason } = needsProgram("redis-server");
const minuteMs = 60_000;
const secret = "a secret of the test, of more than 32 bytes";
const slowly = { timeoutMs: 25_000, everyMs: 50 };

describe.skipIf(skip)(`Redis Cluster${reason}`, () => {
  let cluster: ClusterDeployment;

  beforeAll(async () => {
    cluster = await startCluster({ replicas: true });
  }, 60_000);
  afterAll(() => cluster?.close());

  const storageOf = (more: RedisStorageOptions = {}) => {
    const storage = redisStorage({ url: cluster.url, operationTimeoutMs: 5000, ...more });
    onTestFinished(() => storage.close());
    return storage;
  };
  const managerOf = (nodes = cluster.url) => {
    const manager = createSessionManager({ secret, nodes });
    onTestFinished(() => manager.close());
    return manager;
  };
  const slotOf = (key: string) => cluster.admin(cluster.servers[0]!).cluster("KEYSLOT", `${key}:s`);
  const masterOf = async (slot: number) =>
    (await cluster.masters()).find(({ slots }) =>
      slots.some(([first, last]) => first <= slot && slot <= last),
    )!;
  /** One fresh key for each master. */
  const keysOfEach = async () => {
    const keys = new Map<TestServer, string>();
    while (keys.size < 3) {
      const key = freshKey();
      keys.set((await masterOf(await slotOf(key))).server, key);
    }
    return keys;
  };

  storageContract(
    "redis cluster",
    async () => {
      const client = () => redisStorage({ url: cluster.url, operationTimeoutMs: 5000 });
      const [storage, other] = [client(), client()];
      return {
        storage,
        other,
        async close() {
          await Promise.all([storage.close(), other.close()]);
        },
      };
    },
    { onRelease: true, timesToLive: false },
  );

  it("is configured as documented", async () => {
    const named = cluster.servers.map(({ port }, i) => [`redis${i + 1}:6379`, `127.0.0.1:${port}`]);
    const examples = documentedNodes("Redis Cluster", { servers: Object.fromEntries(named) });

    expect(await Promise.all(examples.map(keepsSessions))).toEqual([true, true]);
  });

  it("is known whole from one of its servers, be it a replica, and whichever of the others is gone", async () => {
    const replica = cluster.servers[4]!;
    const storage = storageOf({
      url: `redis+cluster://127.0.0.1:1,127.0.0.1:${replica.port}`,
    });

    for (const key of (await keysOfEach()).values()) {
      expect(await storage.putIfNewer(key, testRecord(), minuteMs)).toBe(true);
    }
  });

  it("keeps the lease of a session beside its record", async () => {
    for (const [server, key] of await keysOfEach()) {
      const storage = storageOf();
      await storage.save(key, testRecord(), minuteMs, { expect: "absent" });
      await storage.load(key, { lease: { token: freshToken(), ttlMs: minuteMs } });

      expect(await cluster.admin(server).exists(`${key}:s`, `${key}:l`)).toBe(2);
    }
  });

  it("works on when all its servers forget their scripts", async () => {
    const storage = storageOf();
    const keys = [...(await keysOfEach()).values()];
    for (const key of keys) await storage.save(key, testRecord(), minuteMs, { expect: "absent" });
    for (const server of cluster.servers) await cluster.admin(server).script("FLUSH");

    const found = await Promise.all(keys.map((key) => storage.load(key, { renewTtlMs: minuteMs })));

    expect(found.map(({ kind }) => kind)).toEqual(["found", "found", "found"]);
  });

  it("tells who waits for a lease that it is free, whichever servers the two talk to", async () => {
    for (const key of (await keysOfEach()).values()) {
      const [holder, waiter] = [storageOf(), storageOf()];
      const lease = () => ({ token: freshToken(), ttlMs: minuteMs });
      await holder.save(key, testRecord(), minuteMs, { expect: "absent" });
      let isTold = false;
      waiter.onRelease!(key, () => {
        isTold = true;
      });

      // What is published before the subscription is complete is not heard.
      await waitUntil("the waiter is told", async () => {
        const mine = lease();
        await holder.load(key, { lease: mine });
        await waiter.load(key, { lease: lease() });
        await holder.unlock(key, mine.token);
        return isTold;
      });
    }
  });

  it("is used by a user with no more rights than documented", async () => {
    const rule = [...documentedAcl().user, ...documentedAcl().cluster];
    for (const server of cluster.servers) await cluster.admin(server).call("ACL", "SETUSER", "msm", ...rule);
    const storage = storageOf({ url: cluster.url.replace("://", "://msm:secret@") });
    const keys = [...(await keysOfEach()).values()];

    for (const key of keys) await storage.save(key, testRecord(), minuteMs, { expect: "absent" });
    await storage.ping();
    await whileSlotMoves(keys[0]!, async (_source, target) => {
      expect(await storage.touch(keys[0]!, minuteMs)).toBe(true);
      await moveKeys(keys[0]!, target);
      expect(await storage.touch(keys[0]!, minuteMs)).toBe(true);
    });

    const logs = cluster.servers.map((server) => cluster.admin(server).call("ACL", "LOG"));
    expect((await Promise.all(logs)).flat()).toEqual([]);
  });

  it("serves the sessions of a slot while that moves, and creates new ones in it", async () => {
    const storage = storageOf();
    const key = freshKey();
    const inSameSlot = () => `${key.replace("msm:", "x:")}:${freshToken()}`;
    const keys = [key, inSameSlot(), inSameSlot(), inSameSlot()];
    for (const each of keys)
      await storage.save(each, testRecord({ version: 1 }), minuteMs, { expect: "absent" });
    let isOver = false;
    let rounds = 0;
    const save = async (each: string, version: number) => {
      const loaded = await storage.load(each, { renewTtlMs: minuteMs });
      if (loaded.kind !== "found") throw new Error(`${loaded.kind} while the slot moves`);
      expect(loaded.revision.version).toBe(versionDigits(version));
      const saved = await storage.save(each, testRecord({ version: version + 1 }), minuteMs, {
        expect: loaded.revision,
      });
      expect(saved.kind).toBe("stored");
      rounds += 1;
    };
    const using = keys.map(async (each) => {
      for (let version = 1; !isOver; version += 1) await save(each, version);
    });
    const moreRounds = async () => {
      const before = rounds;
      await waitUntil("the sessions are used", () => rounds > before + 20);
    };

    await whileSlotMoves(key, async (source, target) => {
      await moreRounds();
      const created = inSameSlot();
      await storage.save(created, testRecord(), minuteMs, { expect: "absent" });
      expect(await cluster.admin(target.server).call("ASKING")).toBe("OK");
      expect((await storage.load(created)).kind).toBe("found");
      for (const each of keys) {
        await migrate(cluster.admin(source.server), target.server, [`${each}:s`]);
        await moreRounds();
      }
      await moveKeys(key, target);
    });
    await moreRounds();
    isOver = true;
    await Promise.all(using);
  });

  it("makes who wants a lease wait while the record and the lease may be on different servers", async () => {
    const [storage, other] = [storageOf(), storageOf()];
    const key = freshKey();
    const lease = { token: freshToken(), ttlMs: minuteMs };
    await storage.save(key, testRecord({ version: 1 }), minuteMs, { expect: "absent" });
    const held = await storage.load(key, { lease });
    let outcome: string | undefined;

    await whileSlotMoves(key, async (source, target) => {
      await migrate(cluster.admin(source.server), target.server, [`${key}:s`]);
      const wanted = other.load(key, { lease: { token: freshToken(), ttlMs: minuteMs } });
      void wanted.then(({ kind }) => {
        outcome = kind;
      });
      for (let tries = 0; tries < 5; tries += 1) await other.load(key);
      expect(outcome, "nobody knows yet whether the lease is free").toBeUndefined();
      await moveKeys(key, target);
      await wanted;
    });
    const revision = held.kind === "found" ? held.revision : "absent";
    const saved = await storage.save(key, testRecord({ version: 2 }), minuteMs, {
      expect: revision,
      unlock: lease.token,
    });

    expect(outcome).toBe("locked");
    expect(saved.kind).toBe("stored");
    expect(await storage.unlock(key, lease.token)).toBe(false);
  });

  it("says so where a server of it is configured as a single one", async () => {
    const [server] = cluster.servers;
    const warnings: string[] = [];
    const storage = redisStorage({
      url: `redis://127.0.0.1:${server!.port}`,
      operationTimeoutMs: 5000,
      onWarning: (message) => warnings.push(message),
    });
    onTestFinished(() => storage.close());
    const keys = await keysOfEach();
    keys.delete(server!);

    for (const key of keys.values()) {
      await expect(storage.load(key)).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
    }
    expect(warnings).toEqual([expect.stringContaining("redis+cluster://")]);
  });

  it("goes on with the sessions of the other servers while one hangs", async () => {
    const takeOverAfter = async (ms: string) => {
      for (const server of cluster.servers) {
        await cluster.admin(server).config("SET", "cluster-node-timeout", ms);
      }
    };
    await takeOverAfter("60000");
    onTestFinished(() => takeOverAfter("1000"));
    const storage = storageOf({ operationTimeoutMs: 250 });
    const manager = managerOf();
    const downs: string[] = [];
    manager.on("nodeDown", ({ node }) => downs.push(node));
    const keys = await keysOfEach();
    for (const key of keys.values()) await storage.putIfNewer(key, testRecord(), minuteMs);
    const traffic = watchTraffic([manager], 12);
    await waitUntil("the sessions are there", () => traffic.acknowledged() > 60, slowly);
    const run = await storage.ping();
    const [[hanging, itsKey], ...others] = [...keys] as [[TestServer, string], ...[TestServer, string][]];

    await hanging.freeze();
    onTestFinished(() => hanging.thaw());
    const before = traffic.acknowledged();
    const troubles: MsmError[] = [];
    const asking = Array.from({ length: 4 }, async () => {
      await storage.load(itsKey).catch((error: MsmError) => troubles.push(error));
    });
    for (const [, key] of others) expect((await storage.load(key)).kind).toBe("found");
    await Promise.all(asking);
    expect(await storage.ping()).toBe(run);
    await waitUntil("its sessions cannot be had", () => traffic.failed() > 8, slowly);
    await waitUntil("the others go on", () => traffic.acknowledged() > before + 60, slowly);
    hanging.thaw();

    expect(troubles.map(({ code, isOfOnePart }) => ({ code, isOfOnePart }))).toEqual(
      Array(4).fill({ code: "MSM_ERR_STORAGE_TIMEOUT", isOfOnePart: true }),
    );
    await waitUntil("its sessions are there", () =>
      storage.load(itsKey).then(
        ({ kind }) => kind === "found",
        () => false,
      ),
    );
    const { lost, newIds } = await traffic.end();
    expect({ downs, lost, newIds }).toEqual({ downs: [], lost: 0, newIds: 0 });
  });

  it("goes on with the sessions of a manager when a master is killed and its replica takes over", async () => {
    const managers = [managerOf(), managerOf()];
    const traffic = watchTraffic(managers, 9);
    await waitUntil("the sessions are there", () => traffic.acknowledged() > 60, slowly);
    const { server: killed, slots } = (await cluster.masters())[1]!;

    await killed.kill();
    await waitUntil("its replica took over", async () => isServed(slots[0]![0], killed), slowly);
    const atFailover = traffic.acknowledged();
    await waitUntil("the sessions go on", () => traffic.acknowledged() > atFailover + 60, slowly);
    await killed.restart();
    const afterReturn = traffic.acknowledged();
    await waitUntil("the sessions go on", () => traffic.acknowledged() > afterReturn + 60, slowly);
    const { errors, lost, newIds } = await traffic.end();

    expect(errors.filter(({ status }) => status !== 503)).toEqual([]);
    expect(newIds, "nobody lost a session").toBe(0);
    console.info(
      `cluster failover: ${errors.length} requests got 503, ${lost} acknowledged changes were lost`,
    );
  });

  it("that serves some slots no more is a node that is down: nobody gets a new session for one that may be there", async () => {
    const own = await startCluster();
    onTestFinished(() => own.close());
    const manager = managerOf(own.url);
    const isDown = new Promise<void>((resolve) => manager.on("nodeDown", () => resolve()));
    const visitor = testClient();
    await waitUntil("the session is there", async () => {
      const { result } = await visitor.visit(manager, (attributes) => Object.assign(attributes, { n: 1 }));
      return result.outcome === "stored";
    });
    const cookie = visitor.cookie;

    await own.servers[1]!.kill();
    await isDown;

    await expect(visitor.visit(manager)).rejects.toMatchObject({ status: 503 });
    expect(visitor.cookie).toBe(cookie);
  });

  const isServed = async (slot: number, notBy: TestServer) => {
    const master = await masterOf(slot);
    return master !== undefined && master.server !== notBy;
  };

  /** Moves the slot of a key from its master to another, and all that is in it at the end. */
  async function whileSlotMoves(
    key: string,
    work: (source: { server: TestServer }, target: { server: TestServer }) => Promise<void>,
  ): Promise<void> {
    const slot = await slotOf(key);
    const source = await masterOf(slot);
    const target = (await cluster.masters()).find(({ server }) => server !== source.server)!;
    await cluster.admin(target.server).call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id);
    await cluster.admin(source.server).call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id);
    await work(source, target);
    await moveKeys(key, target);
    // First where it goes: https://redis.io/docs/latest/commands/cluster-setslot/
    for (const { server } of [target, source]) {
      await cluster.admin(server).call("CLUSTER", "SETSLOT", slot, "NODE", target.id);
    }
  }

  /** Moves everything that is left in the slot of a key. */
  async function moveKeys(key: string, target: { server: TestServer }): Promise<void> {
    const slot = await slotOf(key);
    const source = (await masterOf(slot)).server;
    for (;;) {
      const keys = (await cluster.admin(source).call("CLUSTER", "GETKEYSINSLOT", slot, 10)) as string[];
      if (keys.length === 0) return;
      await migrate(cluster.admin(source), target.server, keys);
    }
  }
});

const migrate = (redis: Redis, { host, port }: TestServer, keys: readonly string[]) =>
  redis.call("MIGRATE", host, port, "", 0, 5000, "KEYS", ...keys);
