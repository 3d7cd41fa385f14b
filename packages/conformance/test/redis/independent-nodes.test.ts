import {
  needsProgram,
  redisCommand,
  startServer,
  type TestServer,
  testClient,
  waitUntil,
} from "@msm/conformance";
import { createSessionManager, type SessionManager, type SessionManagerOptions } from "@msm/core";
import { Redis } from "ioredis";
import { describe, expect, it, onTestFinished } from "vitest";
import { documentedNodes, keepsSessions } from "./deployments.js";
import { watchTraffic } from "./traffic.js";

const { skip, reason } = needsProgram("redis-server");
const secret = "a secret of the test, of more than 32 bytes";
const modes = ["non-sticky", "sticky"] as const;

describe.skipIf(skip)(`two Redis servers that know nothing of each other${reason}`, () => {
  const startNodes = async (...serverArguments: string[]) => {
    const servers = await Promise.all([1, 2].map(() => startServer(redisCommand(...serverArguments))));
    onTestFinished(async () => {
      await Promise.all(servers.map((server) => server.close()));
    });
    return servers as [TestServer, TestServer];
  };
  const nodesOf = (servers: readonly TestServer[]) =>
    servers.map(({ port }, i) => `n${i + 1}:redis://127.0.0.1:${port}`).join(",");
  const startManager = (servers: readonly TestServer[], mode: (typeof modes)[number], route = "app1") => {
    const sticky = mode === "sticky" ? { mode, route } : { mode };
    const options = { secret, nodes: nodesOf(servers), operationTimeoutMs: 1000, ...sticky };
    const manager = createSessionManager(options as SessionManagerOptions);
    onTestFinished(() => manager.close());
    return manager;
  };
  const admin = ({ port, host }: TestServer) => {
    const redis = new Redis(port, host, { retryStrategy: () => 20 });
    redis.on("error", () => undefined); // it is tried again
    onTestFinished(() => redis.disconnect());
    return redis;
  };
  /** A visitor whose session is on n1, with a counter at 1. */
  const visitorOnFirst = async (manager: SessionManager) => {
    for (;;) {
      const visitor = testClient();
      await visitor.visit(manager, count);
      if (visitor.cookie?.includes("-n1-")) return visitor;
    }
  };
  const count = (attributes: { n?: unknown }) => {
    attributes.n = (typeof attributes.n === "number" ? attributes.n : 0) + 1;
  };
  const keysOf = (server: TestServer) => admin(server).dbsize();

  it("are configured as documented", async () => {
    const named = (await startNodes()).map(({ port }, i) => [`redis${i + 1}:6379`, `127.0.0.1:${port}`]);
    const examples = documentedNodes("Several servers that know nothing of each other", {
      servers: Object.fromEntries(named),
    });

    expect(await Promise.all(examples.map(keepsSessions))).toEqual([true]);
  });

  describe.each(modes)("%s", (mode) => {
    it("go on with the sessions of one that is killed, and take it back empty", async () => {
      const servers = await startNodes();
      const manager = startManager(servers, mode);
      const traffic = watchTraffic([manager], 8);
      await waitUntil("the sessions are there", () => traffic.acknowledged() > 40);

      await servers[0].kill();
      const atLoss = traffic.acknowledged();
      await waitUntil("the sessions go on", () => traffic.acknowledged() > atLoss + 80);
      await servers[0].restart();
      await waitUntil("the node is used again", async () => (await keysOf(servers[0])) > 0, {
        timeoutMs: 25_000,
      });
      const { errors, lost, newIds } = await traffic.end();

      expect(errors.filter(({ status }) => status !== 503)).toEqual([]);
      expect({ lost, newIds }).toEqual({ lost: 0, newIds: 0 });
    });

    it("lose no session where one is emptied under them (FLUSHALL)", async () => {
      const servers = await startNodes();
      const manager = startManager(servers, mode);
      const visitor = await visitorOnFirst(manager);

      await admin(servers[0]).flushall();
      await visitor.visit(manager, count);
      const { session, setCookie } = await visitor.visit(manager);

      expect(session?.attributes.n).toBe(2);
      expect(setCookie, "it stays where it was").toBeUndefined();
      expect(await keysOf(servers[0])).toBe(1);
    });

    it("lose no session, and fail no request, where one is emptied under load again and again", async () => {
      const servers = await startNodes();
      const manager = startManager(servers, mode);
      const traffic = watchTraffic([manager], 8);
      for (const round of [1, 2, 3, 4]) {
        await waitUntil("the sessions are used", () => traffic.acknowledged() > 60 * round);
        await admin(servers[round % 2]!).flushall();
        // By the next round each session is used, and so on both nodes again.
      }

      expect(await traffic.end()).toEqual({ errors: [], lost: 0, newIds: 0 });
    });

    it("fail no request where their scripts are flushed under load", async () => {
      const servers = await startNodes();
      const manager = startManager(servers, mode);
      const traffic = watchTraffic([manager], 8);
      for (const round of [1, 2, 3, 4, 5, 6]) {
        await waitUntil("the sessions are used", () => traffic.acknowledged() > 30 * round);
        for (const server of servers) await admin(server).script("FLUSH");
      }

      expect(await traffic.end()).toEqual({ errors: [], lost: 0, newIds: 0 });
    });

    it("take each other's writes where one takes none, whose records are still read", async () => {
      const servers = await startNodes();
      const manager = startManager(servers, mode);
      const visitor = await visitorOnFirst(manager);

      await admin(servers[0]).config("SET", "maxmemory", "1");
      const { result } = await visitor.visit(manager, count);
      const { session } = await visitor.visit(manager);

      expect(result.outcome).toBe("stored");
      expect(session?.attributes.n).toBe(2);
      expect(visitor.cookie).toContain("-n2-");
    });
  });

  it("lose no session where one of them evicts, and it warns of that", async () => {
    const servers = await startNodes();
    const redis = admin(servers[0]);
    await redis.config("SET", "maxmemory-policy", "allkeys-lru");
    const manager = startManager(servers, "non-sticky");
    const warnings: string[] = [];
    manager.on("warning", ({ message }) => warnings.push(message));
    const visitors = await Promise.all([1, 2, 3, 4].map(() => visitorOnFirst(manager)));

    await redis.config("SET", "maxmemory", "1");
    await waitUntil("all is evicted", async () => {
      await redis.set("something", "else").catch(() => undefined);
      return (await redis.dbsize()) === 0;
    });
    for (const visitor of visitors) await visitor.visit(manager, count);

    for (const visitor of visitors) {
      expect((await visitor.visit(manager)).session?.attributes.n).toBe(2);
    }
    expect(warnings).toEqual([expect.stringContaining("allkeys-lru")]);
    expect(warnings[0]).toMatch(/^node n1: /);
  });
});
