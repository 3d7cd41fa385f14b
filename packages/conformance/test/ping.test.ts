import { memcachedStorage, memoryStorage, redisStorage, type Storage } from "@msm/core";
import { Redis } from "ioredis";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  freshKey,
  memcachedCommand,
  needsProgram,
  redisCommand,
  type ServerCommand,
  startFaultProxy,
  startServer,
  waitUntil,
} from "../src/index.js";

const kinds: readonly {
  readonly program: string;
  /** Default: the program. */
  readonly name?: string;
  readonly command: ServerCommand;
  readonly create: (port: number) => Storage;
}[] = [
  {
    program: "memcached",
    command: memcachedCommand(),
    create: (port) => memcachedStorage({ host: "127.0.0.1", port }),
  },
  {
    program: "memcached",
    name: "memcached (in the meta protocol)",
    command: memcachedCommand(),
    create: (port) => memcachedStorage({ host: "127.0.0.1", port, protocol: "meta" }),
  },
  {
    program: "redis-server",
    command: redisCommand(),
    create: (port) => redisStorage({ url: `redis://127.0.0.1:${port}` }),
  },
];

for (const { program, name = program, command, create } of kinds) {
  const { skip, reason } = needsProgram(program);

  it.skipIf(skip)(`what ping() gives tells that ${name} restarted, however quickly${reason}`, async () => {
    const server = await startServer(command);
    const storage = create(server.port);
    try {
      const run = await storage.ping();
      expect(await storage.ping()).toBe(run);

      await server.restart();

      await waitUntil("the node answers again", async () => (await storage.ping().catch(() => run)) !== run);
    } finally {
      await storage.close();
      await server.close();
    }
  });
}

describe.skipIf(needsProgram("redis-server").skip)("what Redis calls its run", () => {
  async function connected() {
    const server = await startServer(redisCommand());
    onTestFinished(() => server.close());
    const proxy = await startFaultProxy(server.port);
    onTestFinished(() => proxy.close());
    const storage = redisStorage({ url: `redis://127.0.0.1:${proxy.port}`, operationTimeoutMs: 5000 });
    onTestFinished(() => storage.close());
    await storage.load(freshKey());
    return { server, proxy, storage };
  }

  it("is another one with the first answer after a restart, and the same for ping()", async () => {
    const { server, storage } = await connected();
    const before = storage.run;

    await server.restart();
    const answered = () =>
      storage.load(freshKey()).then(
        () => true,
        () => false,
      );
    while (!(await answered())) expect(storage.run).toBe(before);

    expect(before).toEqual(expect.any(String));
    expect(storage.run).not.toBe(before);
    expect(await storage.ping()).toBe(storage.run);
  });

  it("stays the same where only the connections were lost", async () => {
    const { proxy, storage } = await connected();
    const [before, pinged] = [storage.run, await storage.ping()];
    const { accepted } = proxy;

    proxy.endAll("rst");
    await waitUntil("it is connected anew", async () => {
      await Promise.allSettled([storage.load(freshKey()), storage.ping()]);
      return proxy.accepted >= accepted + 2;
    });

    expect([storage.run, await storage.ping()]).toEqual([before, pinged]);
  });

  it("is another one where it took its data from another server since", async () => {
    const { server, storage } = await connected();
    const other = await startServer(redisCommand());
    onTestFinished(() => other.close());
    const before = await storage.ping();
    const admin = new Redis(server.port);
    onTestFinished(() => admin.disconnect());

    await admin.replicaof("127.0.0.1", other.port);
    await waitUntil("it is a replica", async () =>
      (await admin.info("replication")).includes("master_link_status:up"),
    );
    await admin.replicaof("NO", "ONE");

    await waitUntil("it answers again", async () => (await storage.ping().catch(() => before)) !== before);
  });
});

describe("memory", () => {
  it("gives the same at each ping()", async () => {
    const storage = memoryStorage();

    expect(await storage.ping()).toBe(await storage.ping());
  });
});
