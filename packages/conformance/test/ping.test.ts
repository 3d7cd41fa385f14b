import { memcachedStorage, memoryStorage, redisStorage, type Storage } from "@msm/core";
import { describe, expect, it } from "vitest";
import {
  memcachedCommand,
  needsProgram,
  redisCommand,
  type ServerCommand,
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

describe("memory", () => {
  it("gives the same at each ping()", async () => {
    const storage = memoryStorage();

    expect(await storage.ping()).toBe(await storage.ping());
  });
});
