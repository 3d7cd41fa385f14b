import { createSessionManager, type SessionManager, type SessionManagerOptions } from "@msm/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  memcachedCommand,
  needsProgram,
  redisCommand,
  type ServerCommand,
  startServer,
  type TestClient,
  type TestServer,
  testClient,
} from "../../src/index.js";
import {
  memcachedRequests,
  type RequestReader,
  type RequestTap,
  redisRequests,
  startTap,
} from "../request-tap.js";

interface Kind {
  readonly program: string;
  readonly command: ServerCommand;
  readonly read: RequestReader;
  readonly url: (port: number) => string;
  /** Requests on the wire that are no operation on a session: probes, and what a client asks when it connects. */
  readonly housekeeping: readonly string[];
  /** What each verb of the storage looks like on the wire. */
  readonly wire: { readonly load: string[]; readonly save: string[]; readonly copy: string[] };
}

const kinds: readonly Kind[] = [
  {
    program: "memcached",
    command: memcachedCommand(),
    read: memcachedRequests,
    url: (port) => `127.0.0.1:${port}`,
    housekeeping: ["0x0b"],
    // Get-and-touch; REPLACE under a CAS id; and for the copy GET with REPLACE, as memcached cannot compare versions.
    wire: { load: ["0x1d"], save: ["0x03"], copy: ["0x00", "0x03"] },
  },
  {
    program: "redis-server",
    command: redisCommand(),
    read: redisRequests,
    url: (port) => `redis://127.0.0.1:${port}`,
    housekeeping: ["PING", "INFO", "CONFIG", "CLIENT", "HELLO", "SELECT"],
    wire: { load: ["GETEX"], save: ["EVALSHA"], copy: ["EVALSHA"] },
  },
];

const increment = (attributes: { n?: number }) => {
  attributes.n = (attributes.n ?? 0) + 1;
};

for (const kind of kinds) {
  const { skip, reason } = needsProgram(kind.program);

  describe.skipIf(skip)(`requests on the wire to ${kind.program}${reason}`, () => {
    let servers: TestServer[] = [];
    let taps: RequestTap[] = [];
    let manager: SessionManager | undefined;

    beforeAll(async () => {
      servers = await Promise.all([startServer(kind.command), startServer(kind.command)]);
      taps = await Promise.all(servers.map((server) => startTap(server.port, kind.read)));
    });
    afterAll(async () => {
      await Promise.all([...taps, ...servers].map((each) => each.close()));
    });

    const start = (options: Partial<SessionManagerOptions>) =>
      createSessionManager({
        secret: "the secret of this test, of 32 bytes and more",
        nodes: taps.map((tap) => kind.url(tap.port)).join(","),
        ...options,
      } as SessionManagerOptions);

    /** What passed the taps meanwhile, without housekeeping; scripts that Redis did not know yet count by EVAL. */
    async function requestsOf(work: () => Promise<unknown>): Promise<string[]> {
      for (const tap of taps) tap.take();
      await work();
      return taps.flatMap((tap) => tap.take()).filter((name) => !kind.housekeeping.includes(name));
    }

    /** Whatever is done once per connection is done here. */
    async function warmUp(client: TestClient): Promise<void> {
      for (let i = 0; i < 4; i++) await testClient().visit(manager!, increment);
      await client.visit(manager!, increment);
      await client.visit(manager!, increment);
      await client.visit(manager!);
    }

    it("are, non-sticky: none without a session or with a forged cookie, 1 to read, 1 to write and the copy's", async () => {
      manager = start({ mode: "non-sticky" });
      const client = testClient();
      await warmUp(client);
      const { load, save, copy } = kind.wire;

      expect(await requestsOf(() => testClient().visit(manager!))).toEqual([]);
      expect(
        await requestsOf(() => testClient(`${"0".repeat(48)}-n1-${"A".repeat(43)}`).visit(manager!)),
      ).toEqual([]);
      expect(await requestsOf(() => client.visit(manager!, (attributes) => attributes.n))).toEqual(load);
      const written = await requestsOf(() => client.visit(manager!, increment));
      expect(written.sort()).toEqual([...load, ...save, ...copy].sort());
      await manager.close();
    });

    it("are, sticky: none to read, 1 to write", async () => {
      manager = start({ mode: "sticky", route: "app1" });
      const client = testClient();
      await warmUp(client);

      expect(await requestsOf(() => testClient().visit(manager!))).toEqual([]);
      expect(
        await requestsOf(() => testClient(`${"0".repeat(48)}-n1-${"A".repeat(43)}.app1`).visit(manager!)),
      ).toEqual([]);
      expect(await requestsOf(() => client.visit(manager!, (attributes) => attributes.n))).toEqual([]);
      expect(await requestsOf(() => client.visit(manager!, increment))).toEqual(kind.wire.save);
      await manager.close();
    });
  });
}
