import { once } from "node:events";
import { createServer } from "node:net";
import { redisStorage, type Storage, versionOf } from "@msm/core";
import { Redis } from "ioredis";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  freshKey,
  needsProgram,
  redisCommand,
  startServer,
  testClient,
  testRecord,
  waitUntil,
} from "../../src/index.js";
import { keyOf, nextEvent, partsOf, startNodes, startProcess } from "./real-nodes.js";

// What memcached-session-manager does with Redis, by the numbers in docs/original-behaviours.md.

const { skip, reason } = needsProgram("redis-server");
const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

/** Where a storage's key has its record on the server. */
const recordKey = (key: string) => `${key}:s`;

/** Asks the server itself, past everything of ours. */
function admin(port: number): Redis {
  const redis = new Redis(port, "127.0.0.1");
  onTestFinished(() => redis.disconnect());
  return redis;
}

function client(url: string): Storage {
  const storage = redisStorage({ url, operationTimeoutMs: 5000 });
  onTestFinished(() => storage.close());
  return storage;
}

describe.skipIf(skip)(`on redis${reason}`, () => {
  it("original 138: one Redis is given by its address, and has the session under a key that does not tell its id", async () => {
    const [node] = await startNodes("redis", 1);
    const start = (route: string) => startProcess([], { mode: "sticky", route, nodes: node!.url });
    const visitor = testClient();

    const { result } = await visitor.visit(start("app1"), (attributes) => {
      attributes.foo = "bar";
    });

    expect(result.outcome).toBe("stored");
    const { id, hint } = partsOf(visitor.cookie);
    expect(hint).toBe("n1");
    const raw = await admin(node!.server.port).getBuffer(recordKey(keyOf(id)));
    expect(versionOf(raw!)).toBe("0000000000000001");
    expect(raw!.toString("latin1")).not.toContain(id);
    const { session } = await visitor.visit(start("app2"));
    expect(session?.id).toBe(id);
    expect({ ...session?.attributes }).toEqual({ foo: "bar" });
  });

  it("original 139: a first record is stored where none is, and nothing is overwritten but what was meant", async () => {
    const [node] = await startNodes("redis", 1);
    const storage = client(node!.url);
    const [key, other] = [freshKey(), freshKey()];
    const [first, second, third] = [testRecord(), testRecord(), testRecord({ version: 2 })];
    const recordOf = async (which: string) => {
      const loaded = await storage.load(which);
      return loaded.kind === "found" ? Buffer.from(loaded.record) : loaded.kind;
    };
    await storage.save(other, first, minuteMs, { expect: "absent" });

    const added = await storage.save(key, first, minuteMs, { expect: "absent" });
    expect(added.kind).toBe("stored");
    expect((await storage.save(key, second, minuteMs, { expect: "absent" })).kind).toBe("conflict");
    expect(await recordOf(key)).toEqual(first);

    const expected = added.kind === "stored" ? added.revision : "absent";
    expect((await storage.save(key, third, minuteMs, { expect: expected })).kind).toBe("stored");
    expect(await recordOf(key)).toEqual(third);

    await storage.touch(key, 1);
    await waitUntil("the record has expired", async () => (await recordOf(key)) === "absent");
    expect(await recordOf(other)).toEqual(first);
  });

  it("original 140: a record is there for as long as it was said to live, and gone after that", async () => {
    const [node] = await startNodes("redis", 1);
    const storage = client(node!.url);
    const [short, long] = [freshKey(), freshKey()];

    await storage.save(short, testRecord(), 300, { expect: "absent" });
    await storage.save(long, testRecord(), minuteMs, { expect: "absent" });

    const leftMs = await admin(node!.server.port).pttl(recordKey(long));
    expect(leftMs).toBeGreaterThan(minuteMs / 2);
    expect(leftMs).toBeLessThanOrEqual(minuteMs);
    await waitUntil("the short one has expired", async () => (await storage.load(short)).kind === "absent");
    expect((await storage.load(long)).kind).toBe("found");
  });

  it("original 141: a time to live is one, however long: more than memcached's 30 days is no point in time", async () => {
    const [node] = await startNodes("redis", 1);
    const storage = client(node!.url);
    const key = freshKey();

    await storage.save(key, testRecord(), 400 * dayMs, { expect: "absent" });

    const leftMs = await admin(node!.server.port).pttl(recordKey(key));
    expect(leftMs).toBeGreaterThan(399 * dayMs);
    expect(leftMs).toBeLessThanOrEqual(400 * dayMs);
  });

  it("original 142: a server that restarts between two commands is connected to anew, and nobody notices", async () => {
    const [node] = await startNodes("redis", 1);
    const storage = client(node!.url);
    await storage.save(freshKey(), testRecord(), minuteMs, { expect: "absent" });

    await node!.server.restart();

    const [key, record] = [freshKey(), testRecord()];
    expect((await storage.save(key, record, minuteMs, { expect: "absent" })).kind).toBe("stored");
    expect(await storage.load(key)).toMatchObject({ kind: "found", record: expect.any(Uint8Array) });
  });

  it("original 142: a session outlives the restart in the process that owns it, and is backed up again", async () => {
    const [node] = await startNodes("redis", 1);
    const owner = startProcess([node!], { mode: "sticky", route: "app1" });
    const visitor = testClient();
    await visitor.visit(owner, (attributes) => {
      attributes.foo = "bar";
    });
    const before = visitor.cookie;
    const { id } = partsOf(before);
    // Whether the process asks something while the server is away is chance: then the server counts as down for a moment.
    const noticed = Promise.race([nextEvent(owner, "nodeReconnected"), nextEvent(owner, "nodeUp")]);

    await node!.server.restart();
    const { result } = await visitor.visit(owner, (attributes) => {
      attributes.n = 1;
    });

    expect(result.outcome).toBe("stored");
    expect(visitor.cookie).toBe(before);
    await noticed;
    expect((await node!.storage.load(keyOf(id))).kind).toBe("found");
  });

  it("original 143: user and password of an address are what the server asks for", async () => {
    const server = await startServer(
      redisCommand(
        ...["--user", "default", "off"],
        ...["--user", "ann", "on", ">s3cret@:/", "~*", "&*", "+@all"],
      ),
    );
    onTestFinished(() => server.close());
    const address = `127.0.0.1:${server.port}`;
    const save = (url: string) => client(url).save(freshKey(), testRecord(), minuteMs, { expect: "absent" });

    expect((await save(`redis://ann:${encodeURIComponent("s3cret@:/")}@${address}`)).kind).toBe("stored");
    for (const closed of [`redis://ann:wrong@${address}`, `redis://${address}`]) {
      await expect(save(closed)).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
    }
  });

  it("original 143: a password alone is one for the server's default user", async () => {
    const server = await startServer(redisCommand("--requirepass", "s3cret"));
    onTestFinished(() => server.close());
    const storage = client(`redis://:s3cret@127.0.0.1:${server.port}/0`);

    expect((await storage.save(freshKey(), testRecord(), minuteMs, { expect: "absent" })).kind).toBe(
      "stored",
    );
  });
});

describe("the addresses of Redis", () => {
  /** What a client sends first. */
  async function firstBytes(urlOf: (port: number) => string): Promise<Buffer> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const address = server.address();
    const port = typeof address === "object" ? address!.port : 0;
    const sent = new Promise<Buffer>((resolve) => {
      server.on("connection", (socket) => {
        socket.on("error", () => socket.destroy());
        socket.once("data", (bytes) => {
          resolve(bytes);
          socket.destroy();
        });
      });
    });
    client(urlOf(port));
    return sent;
  }

  it("original 143: rediss:// speaks TLS, redis:// does not, and the password is sent as it is meant", async () => {
    const handshake = await firstBytes((port) => `rediss://:s3cret@127.0.0.1:${port}`);
    expect([...handshake.subarray(0, 2)], "the record of a TLS handshake").toEqual([0x16, 0x03]);

    const plain = await firstBytes((port) => `redis://ann:s3%40cret@127.0.0.1:${port}`);
    expect(plain.toString("latin1")).toMatch(/^\*3\r\n\$4\r\nauth\r\n\$3\r\nann\r\n\$7\r\ns3@cret\r\n/i);
  });

  it("original 143: an address without a port means 6379, and one without a user none", () => {
    const { port, host, username, password } = new Redis("redis://localhost", { lazyConnect: true }).options;

    expect({ port, host, username, password }).toEqual({
      port: 6379,
      host: "localhost",
      username: null,
      password: null,
    });
  });
});
