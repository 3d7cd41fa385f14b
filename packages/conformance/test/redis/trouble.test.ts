import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  freshKey,
  freshToken,
  needsProgram,
  redisCommand,
  startServer,
  type TestServer,
  testRecord,
  versionDigits,
  waitUntil,
} from "@msm/conformance";
import { type RedisStorageOptions, redisStorage, type Storage } from "@msm/core";
import { Redis } from "ioredis";
import { describe, expect, it, onTestFinished } from "vitest";
import { allSlotsAt, bulk, startFakeRedis } from "./fake-redis.js";

const { skip, reason } = needsProgram("redis-server");
const minuteMs = 60_000;
const unavailable = { code: "MSM_ERR_STORAGE_UNAVAILABLE" };
const refused = { code: "MSM_ERR_STORAGE_REFUSED" };

const client = (options: RedisStorageOptions) => {
  const storage = redisStorage({ operationTimeoutMs: 5000, ...options });
  onTestFinished(() => storage.close());
  return storage;
};
const urlOf = ({ port }: { port: number }) => `redis://127.0.0.1:${port}`;

describe.skipIf(skip)(`a Redis server in trouble${reason}`, () => {
  const start = async (...serverArguments: string[]) => {
    const server = await startServer(redisCommand(...serverArguments));
    onTestFinished(() => server.close());
    return server;
  };
  const admin = (server: TestServer, { enableReadyCheck = true } = {}) => {
    const redis = new Redis(server.port, server.host, { enableReadyCheck, retryStrategy: () => 20 });
    redis.on("error", () => undefined); // it is tried again
    onTestFinished(() => redis.disconnect());
    return redis;
  };
  const folderOfTest = () => {
    const folder = mkdtempSync(join(tmpdir(), "msm-redis-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
  };
  const storedKey = async (storage: Storage) => {
    const key = freshKey();
    await storage.putIfNewer(key, testRecord(), minuteMs);
    return key;
  };
  /** What comes of each way to use a node. */
  const outcomes = async (storage: Storage, key: string) => {
    const outcomeOf = (used: Promise<unknown>) =>
      used.then(
        () => "done",
        (error: { code: string }) => error.code,
      );
    return {
      read: await outcomeOf(storage.load(key)),
      renewed: await outcomeOf(storage.load(key, { renewTtlMs: minuteMs })),
      renewedAgain: await outcomeOf(storage.load(key, { renewTtlMs: minuteMs })),
      written: await outcomeOf(storage.putIfNewer(freshKey(), testRecord(), minuteMs)),
      ping: await outcomeOf(storage.ping()),
    };
  };
  const nothing = {
    read: unavailable.code,
    renewed: unavailable.code,
    renewedAgain: unavailable.code,
    written: unavailable.code,
  };
  const readsOnly = {
    read: "done",
    renewed: "done",
    renewedAgain: "done",
    written: refused.code,
    ping: "done",
  };

  it("cannot be reached while it loads its data (LOADING), and has it then", async () => {
    const folder = folderOfTest();
    const slowly = ["--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024"];
    const server = await start("--dir", folder, ...slowly);
    const storage = client({ url: urlOf(server) });
    const keys = [await storedKey(storage)];
    for (let count = 0; count < 40; count += 1) {
      keys.push(freshKey());
      await storage.putIfNewer(keys.at(-1)!, testRecord({ payload: randomBytes(2000) }), minuteMs);
    }
    await admin(server).save();

    await server.restart();

    expect(await outcomes(storage, keys[0]!)).toEqual({ ...nothing, ping: unavailable.code });
    await expect(storage.load(keys[0]!)).rejects.toThrow("LOADING");
    await admin(server, { enableReadyCheck: false }).config("SET", "key-load-delay", "0");
    await waitUntil("it is loaded", () => storage.load(keys[0]!).then(Boolean, () => false));
    const kinds = await Promise.all(keys.map(async (key) => (await storage.load(key)).kind));
    expect(new Set(kinds)).toEqual(new Set(["found"]));
  });

  it("cannot be reached while it is a replica (READONLY), on connections that were open before as well", async () => {
    const server = await start();
    const storage = client({ url: urlOf(server) });
    const key = await storedKey(storage);
    await admin(server).replicaof("127.0.0.1", 1);

    expect((await storage.load(key)).kind, "nobody knows yet").toBe("found");
    await expect(storage.ping()).rejects.toThrow("READONLY");
    expect(await outcomes(storage, key)).toEqual({ ...nothing, ping: unavailable.code });

    await admin(server).replicaof("NO", "ONE");
    await storage.ping();
    expect((await storage.load(key)).kind).toBe("found");
  });

  it("cannot be reached while it has no link to its master and does not serve what may be old (MASTERDOWN)", async () => {
    const server = await start("--replica-serve-stale-data", "no");
    const storage = client({ url: urlOf(server) });
    const key = await storedKey(storage);
    await admin(server).replicaof("127.0.0.1", 1);

    await expect(storage.load(key)).rejects.toThrow("MASTERDOWN");
    expect(await outcomes(storage, key)).toEqual({ ...nothing, ping: unavailable.code });
  });

  it("refuses writes alone where too few replicas are there (NOREPLICAS)", async () => {
    const server = await start();
    const storage = client({ url: urlOf(server) });
    const key = await storedKey(storage);
    await admin(server).config("SET", "min-replicas-to-write", "1");

    expect(await outcomes(storage, key)).toEqual(readsOnly);
  });

  it("refuses writes alone where it cannot save its data (MISCONF)", async () => {
    const folder = folderOfTest();
    const server = await start("--dir", folder, "--save", "3600 1");
    const storage = client({ url: urlOf(server) });
    const key = await storedKey(storage);
    mkdirSync(join(folder, "dump.rdb"));
    await admin(server).bgsave();
    await waitUntil("saving failed", async () =>
      (await admin(server).info("persistence")).includes("rdb_last_bgsave_status:err"),
    );

    expect(await outcomes(storage, key)).toEqual(readsOnly);
  });

  it.each([
    ["knows no GETEX, as before 6.2", ["--rename-command", "GETEX", ""], []],
    ["lets its user not send GETEX", [], ["-getex"]],
  ])("reads and renews on the same connection where it %s", async (_why, serverArguments, rules) => {
    const server = await start(...serverArguments);
    const user = ["reset", "on", ">secret", "~*", "&*", "+@all", ...rules];
    await admin(server).call("ACL", "SETUSER", "msm", ...user);
    const storage = client({ url: `redis://msm:secret@127.0.0.1:${server.port}` });
    const key = await storedKey(storage);
    const connections = async () =>
      String(await admin(server).call("CLIENT", "LIST")).match(/^id=\d+(?=.* user=msm )/gm);
    const before = await connections();

    for (let reads = 0; reads < 3; reads++)
      expect((await storage.load(key, { renewTtlMs: 31 * minuteMs })).kind).toBe("found");

    expect(await connections()).toEqual(before);
    const ttlMs = await admin(server).pttl(`${key}:s`);
    expect(ttlMs).toBeGreaterThan(minuteMs);
    const statistics = await admin(server).info("commandstats");
    const askedInVain = Number(/^cmdstat_getex:.*rejected_calls=(\d+)/m.exec(statistics)?.[1] ?? 0);
    expect(askedInVain, "it is not asked for again").toBeLessThanOrEqual(1);
  });

  it("refuses writes alone where its memory is full (OOM)", async () => {
    const server = await start();
    const storage = client({ url: urlOf(server) });
    const key = await storedKey(storage);
    const lease = { token: freshToken(), ttlMs: minuteMs };
    await storage.load(key, { lease });
    await admin(server).config("SET", "maxmemory", "1");

    expect(await outcomes(storage, key)).toEqual(readsOnly);
    expect(await storage.touch(key, minuteMs)).toBe(true);
    expect(await storage.unlock(key, lease.token)).toBe(true);
    const record = testRecord({ version: 2 });
    await expect(
      storage.save(key, record, minuteMs, { expect: { version: versionDigits(1) } }),
    ).rejects.toMatchObject(refused);
  });

  it("cannot be reached while a script of somebody keeps it busy (BUSY)", async () => {
    const server = await start("--busy-reply-threshold", "1");
    const storage = client({ url: urlOf(server) });
    const key = await storedKey(storage);
    const killer = admin(server);
    await killer.ping();
    const endless = admin(server)
      .eval("while true do end", 0)
      .catch((error: Error) => error.message);
    await waitUntil("it is busy", () =>
      storage.load(key).then(
        () => false,
        ({ message }: Error) => message.includes("BUSY"),
      ),
    );

    expect(await outcomes(storage, key)).toEqual({ ...nothing, ping: unavailable.code });

    await killer.script("KILL");
    expect(await endless).toContain("killed");
    expect((await storage.load(key)).kind).toBe("found");
  });

  it("cannot be reached where it has too many clients", async () => {
    const server = await start();
    const redis = admin(server);
    await redis.config("SET", "maxclients", "1");

    const storage = client({ url: urlOf(server) });

    await expect(storage.load(freshKey())).rejects.toMatchObject(unavailable);
    await redis.config("SET", "maxclients", "10");
    await waitUntil("there is room", () => storage.load(freshKey()).then(Boolean, () => false));
  });
});

describe("a Redis Cluster in trouble", () => {
  const clusterAt = (port: number, operationTimeoutMs = 300) =>
    client({ url: `redis+cluster://127.0.0.1:${port}`, operationTimeoutMs });
  const isSlots = ([first, second]: readonly string[]) =>
    `${first} ${second}`.toUpperCase() === "CLUSTER SLOTS";
  const isMeta = ([first]: readonly string[]) => /^(INFO|CONFIG)$/i.test(first!);

  it("whose servers send everybody to each other is asked a few times, and never believed to have nothing", async () => {
    const other = await startFakeRedis(() => `-MOVED 1 127.0.0.1:${server.port}\r\n`);
    const server = await startFakeRedis((command) =>
      isSlots(command)
        ? allSlotsAt("127.0.0.1", server.port)
        : isMeta(command)
          ? bulk("")
          : `-MOVED 1 127.0.0.1:${other.port}\r\n`,
    );

    await expect(clusterAt(server.port).load(freshKey())).rejects.toMatchObject({
      code: "MSM_ERR_STORAGE_TIMEOUT",
      isOfOnePart: true,
    });

    expect(server.got.length + other.got.length).toBeLessThan(60);
  });

  it("whose slot moves for long makes who needs it wait until its time is over (TRYAGAIN)", async () => {
    const server = await startFakeRedis((command) =>
      isSlots(command)
        ? allSlotsAt("127.0.0.1", server.port)
        : isMeta(command)
          ? bulk("")
          : "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    );

    await expect(clusterAt(server.port).load(freshKey())).rejects.toMatchObject({
      code: "MSM_ERR_STORAGE_TIMEOUT",
      isOfOnePart: true,
    });
  });

  it.each([
    ["The cluster is down", undefined],
    ["Hash slot not served", true],
  ])("is no cluster without sessions (CLUSTERDOWN %s)", async (words, isOfOnePart) => {
    const server = await startFakeRedis((command) =>
      isSlots(command)
        ? allSlotsAt("127.0.0.1", server.port)
        : isMeta(command)
          ? bulk("")
          : `-CLUSTERDOWN ${words}\r\n`,
    );
    const storage = clusterAt(server.port, 5000);

    const trouble = await storage.load(freshKey()).catch((error: unknown) => error);

    expect(trouble).toMatchObject({ ...unavailable, ...(isOfOnePart && { isOfOnePart }) });
    expect(trouble).not.toMatchObject({ isOfOnePart: isOfOnePart === undefined });
    await expect(storage.ping()).rejects.toMatchObject(unavailable);
  });

  it("that names no host for a server means the one that was asked", async () => {
    const owner = await startFakeRedis((command) => (isMeta(command) ? bulk("") : "$-1\r\n"));
    const server = await startFakeRedis((command) =>
      isSlots(command)
        ? allSlotsAt("", server.port)
        : isMeta(command)
          ? bulk("")
          : `-MOVED 1 :${owner.port}\r\n`,
    );

    expect(await clusterAt(server.port, 5000).load(freshKey())).toEqual({ kind: "absent" });
    expect(owner.got).toContainEqual([expect.stringMatching(/get/i), expect.any(String)]);
  });

  it("whose servers are known by other addresses is reached through a natMap", async () => {
    const owner = await startFakeRedis((command) => (isMeta(command) ? bulk("") : "$-1\r\n"));
    const seed = await startFakeRedis((command) =>
      isSlots(command) ? allSlotsAt("10.1.2.3", 6379) : bulk(""),
    );

    const storage = client({
      url: `redis+cluster://127.0.0.1:${seed.port}`,
      options: { natMap: { "10.1.2.3:6379": { host: "127.0.0.1", port: owner.port } } },
    });

    expect(await storage.load(freshKey())).toEqual({ kind: "absent" });
  });

  it.each([
    ["knows of no slots", "*0\r\n"],
    ["gives no list of them", "+OK\r\n"],
    ["is none", "-ERR This instance has cluster support disabled\r\n"],
  ])("that %s is not believed to have no sessions", async (_what, reply) => {
    const server = await startFakeRedis((command) => (isSlots(command) ? reply : bulk("")));

    await expect(clusterAt(server.port).load(freshKey())).rejects.toMatchObject({
      code: expect.stringMatching(/^MSM_ERR_STORAGE_/),
    });
    await expect(clusterAt(server.port).ping()).rejects.toMatchObject({
      code: expect.stringMatching(/^MSM_ERR_STORAGE_/),
    });
  });
});

describe("sentinels in trouble", () => {
  it("that name another master are followed, though the old one answers as if nothing were", async () => {
    const master = () =>
      startFakeRedis(([name]) =>
        /^ping$/i.test(name!) ? "+PONG\r\n" : /^get$/i.test(name!) ? "$-1\r\n" : bulk(""),
      );
    const [old, next] = [await master(), await master()];
    let named = old;
    const sentinel = await startFakeRedis(() => `*2\r\n${bulk("127.0.0.1")}${bulk(String(named.port))}`);
    const storage = client({ url: `redis+sentinel://127.0.0.1:${sentinel.port}/sessions` });
    await storage.load(freshKey());
    // What the sentinels say is noted at each ping, and need not be known when that is answered.
    const asked = sentinel.got.length;
    await storage.ping();
    await waitUntil("the sentinel was asked", () => sentinel.got.length > asked + 1);

    named = next;
    const ofOld = () => old.got.filter(([name]) => /^get$/i.test(name!)).length;
    await waitUntil("the new master is asked", async () => {
      await storage.ping().catch(() => undefined);
      await storage.load(freshKey()).catch(() => undefined);
      return next.got.some(([name]) => /^get$/i.test(name!));
    });
    const before = ofOld();
    await storage.load(freshKey());

    expect(ofOld()).toBe(before);
  });

  it("that know no master are no sessions that are not there", async () => {
    const sentinel = await startFakeRedis(() => "*-1\r\n");
    const storage = client({
      url: `redis+sentinel://127.0.0.1:${sentinel.port},127.0.0.1:1/sessions`,
      operationTimeoutMs: 300,
    });

    await expect(storage.load(freshKey())).rejects.toMatchObject(unavailable);
    await expect(storage.ping()).rejects.toMatchObject(unavailable);
  });
});
