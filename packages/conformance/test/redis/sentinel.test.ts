import {
  freshKey,
  needsProgram,
  storageContract,
  type TestServer,
  testClient,
  testRecord,
  waitUntil,
} from "@msm/conformance";
import { createSessionManager, redisStorage } from "@msm/core";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { documentedNodes, keepsSessions, type SentinelDeployment, startSentinels } from "./deployments.js";
import { watchTraffic } from "./traffic.js";

const { skip, reason } = needsProgram("redis-server");
const minuteMs = 60_000;
const secret = "a secret of the test, of more than 32 bytes";

describe.skipIf(skip)(`Redis behind sentinels${reason}`, () => {
  let deployment: SentinelDeployment;
  const storageOf = (url = deployment.url, more: Partial<Parameters<typeof redisStorage>[0]> = {}) => {
    const storage = redisStorage({ url, operationTimeoutMs: 5000, ...more });
    onTestFinished(() => storage.close());
    return storage;
  };
  const replicas = async () => {
    const master = await deployment.master();
    return deployment.servers.filter((server) => server !== master);
  };
  const urlOf = ({ port }: TestServer) => `redis://127.0.0.1:${port}`;

  beforeAll(async () => {
    deployment = await startSentinels();
  }, 60_000);
  afterAll(() => deployment?.close());

  storageContract(
    "redis behind sentinels",
    async () => {
      const client = () => redisStorage({ url: deployment.url, operationTimeoutMs: 5000 });
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
    const named = deployment.sentinels.map(({ port }, i) => [`sentinel${i + 1}:26379`, `127.0.0.1:${port}`]);
    const examples = documentedNodes("Sentinels", { servers: Object.fromEntries(named) });

    expect(await Promise.all(examples.map(keepsSessions))).toEqual([true, true]);
  });

  it("is found though a sentinel hangs, is gone, or never was", async () => {
    const [hanging, ...others] = deployment.sentinels;
    await hanging!.freeze();
    onTestFinished(() => hanging!.thaw());
    const hosts = [hanging!, { port: 1 }, others[0]!].map(({ port }) => `127.0.0.1:${port}`);

    const storage = storageOf(`redis+sentinel://${hosts.join(",")}/sessions`, { operationTimeoutMs: 400 });

    await waitUntil("it is found", () => storage.load(freshKey()).then(Boolean, () => false));
  });

  it("does not take a replica for a node, though a read of it would be answered", async () => {
    const key = freshKey();
    await storageOf().putIfNewer(key, testRecord(), minuteMs);
    const [replica] = await replicas();
    await waitUntil(
      "the replica has it",
      async () => (await deployment.admin(replica!).exists(`${key}:s`)) === 1,
    );
    const storage = storageOf(urlOf(replica!));

    const unavailable = { code: "MSM_ERR_STORAGE_UNAVAILABLE" };
    await expect(storage.load(key)).rejects.toMatchObject(unavailable);
    await expect(storage.ping()).rejects.toMatchObject(unavailable);
    await expect(storage.ping()).rejects.toThrow("READONLY");
  });

  it("is asked again for its maxmemory-policy where another server took over", async () => {
    const admins = await Promise.all((await replicas()).map((server) => deployment.admin(server)));
    for (const redis of admins) await redis.config("SET", "maxmemory-policy", "allkeys-lru");
    const manager = createSessionManager({ secret, nodes: deployment.url });
    onTestFinished(() => manager.close());
    const warnings: string[] = [];
    manager.on("warning", ({ message }) => warnings.push(message));
    const visitor = testClient();
    const visit = () => visitor.visit(manager, (attributes) => Object.assign(attributes, { n: 1 }));
    await waitUntil("the session is there", async () => (await visit()).result.outcome === "stored", slowly);
    const before = await deployment.master();
    expect(warnings).toEqual([]);

    await deployment.admin(deployment.sentinels[0]!).call("SENTINEL", "FAILOVER", "sessions");
    await waitUntil("another one is the master", async () => (await deployment.master()) !== before, slowly);
    await waitUntil(
      "the warning came",
      async () => {
        await visit().catch(() => undefined);
        return warnings.length > 0;
      },
      slowly,
    );

    expect(warnings).toEqual([expect.stringContaining("allkeys-lru")]);
    expect(warnings[0]).toContain(String((await deployment.master()).port));
  });

  it("goes on with the sessions of a manager when its master is killed, and never with those of the old one", async () => {
    const manager = () => createSessionManager({ secret, nodes: deployment.url });
    const managers = [manager(), manager()];
    onTestFinished(async () => {
      await Promise.all(managers.map((manager) => manager.close()));
    });
    const traffic = watchTraffic(managers, 8);
    await waitUntil("the sessions are there", () => traffic.acknowledged() > 40, slowly);
    const killed = await deployment.master();

    await killed.kill();
    await waitUntil("another one is the master", async () => (await deployment.master()) !== killed, slowly);
    const atFailover = traffic.acknowledged();
    await waitUntil("the sessions go on", () => traffic.acknowledged() > atFailover + 40, slowly);
    await killed.restart();
    const afterReturn = traffic.acknowledged();
    await waitUntil("the sessions go on", () => traffic.acknowledged() > afterReturn + 40, slowly);
    // The sentinels would do that some 10 s later.
    await deployment.admin(killed).replicaof("127.0.0.1", (await deployment.master()).port);
    const asReplica = traffic.acknowledged();
    await waitUntil("the sessions go on", () => traffic.acknowledged() > asReplica + 40, slowly);
    const { errors, lost, newIds } = await traffic.end();

    expect(new Set(errors.map(({ status }) => status))).toEqual(new Set([503]));
    expect(newIds, "nobody lost a session").toBe(0);
    // Replication is asynchronous: what was acknowledged in the last moment of the master may be gone.
    console.info(
      `sentinel failover: ${errors.length} requests got 503, ${lost} acknowledged changes were lost`,
    );
  });
});

const slowly = { timeoutMs: 25_000, everyMs: 50 };
