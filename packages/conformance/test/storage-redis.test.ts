import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  findProgram,
  freePort,
  freshKey,
  freshToken,
  needsProgram,
  redisCommand,
  type ServerCommand,
  startFaultProxy,
  startServer,
  storageContract,
  storageFaults,
  testRecord,
  versionDigits,
  waitUntil,
} from "@msm/conformance";
import { type RedisStorageOptions, redisStorage, type Storage } from "@msm/core";
import { Redis } from "ioredis";
import { describe, expect, it, onTestFinished } from "vitest";

const { skip, reason } = needsProgram("redis-server");
const minuteMs = 60_000;

/** Valkey takes the same arguments. */
const valkeyCommand: ServerCommand = (port) => {
  const [, ...args] = redisCommand()(port);
  return [findProgram("valkey-server") ?? "valkey-server", ...args];
};
const valkey = needsProgram("valkey-server");
// One line that tells is enough; in CI, whose distribution has no package of it, not even that.
if (valkey.skip) it.skip(`valkey is a storage as redis is${valkey.reason}`);

for (const { name, program, command } of [
  { name: "redis", program: "redis-server", command: redisCommand() },
  ...(valkey.reason === "" ? [{ name: "valkey", program: "valkey-server", command: valkeyCommand }] : []),
]) {
  const { skip, reason } = needsProgram(program);

  storageContract(
    `${name}${reason}`,
    async () => {
      const server = await startServer(command);
      // A busy machine must not look like a slow server here; deadlines are the faults' matter.
      const patient = { url: `redis://${server.host}:${server.port}`, operationTimeoutMs: 5000 };
      const storage = redisStorage(patient);
      const other = redisStorage(patient);
      return {
        storage,
        other,
        async close() {
          await Promise.all([storage.close(), other.close()]);
          await server.close();
        },
      };
    },
    { skip, onRelease: true },
  );

  storageFaults(`${name}${reason}`, {
    skip,
    startServer: () => startServer(command),
    createStorage: ({ host, port, operationTimeoutMs }) =>
      redisStorage({ url: `redis://${host}:${port}`, operationTimeoutMs }),
    onRelease: true,
  });
}

/** How often a server has carried out a command since it started, scripts' calls included. */
async function sent(redis: Redis, command: string): Promise<number> {
  const statistics = await redis.info("commandstats");
  return Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, "m").exec(statistics)?.[1] ?? 0);
}

describe.skipIf(skip)(`redis as a storage${reason}`, () => {
  const start = async (...serverArguments: string[]) => {
    const server = await startServer(redisCommand(...serverArguments));
    onTestFinished(() => server.close());
    return server;
  };
  const client = (options: RedisStorageOptions) => {
    const storage = redisStorage({ operationTimeoutMs: 5000, ...options });
    onTestFinished(() => storage.close());
    return storage;
  };
  const admin = (port: number) => {
    const redis = new Redis(port, "127.0.0.1");
    onTestFinished(() => redis.disconnect());
    return redis;
  };
  const urlOf = ({ port }: { port: number }) => `redis://127.0.0.1:${port}`;

  describe("a record whose idle timeout is its own", () => {
    const ownTtlMs = 60 * minuteMs;
    const stored = async (storage: Storage) => {
      const key = freshKey();
      await storage.putIfNewer(key, testRecord({ idleTimeoutMs: ownTtlMs }), ownTtlMs);
      return key;
    };

    it("is read and renewed by one GETEX once it is known", async () => {
      const server = await start();
      const storage = client({ url: urlOf(server) });
      const redis = admin(server.port);
      const key = await stored(storage);

      for (let loads = 0; loads < 10; loads++) await storage.load(key, { renewTtlMs: minuteMs });

      expect(await sent(redis, "getex")).toBe(9);
      expect(await sent(redis, "pexpire"), "the script's").toBe(1);
      expect(await redis.pttl(`${key}:s`)).toBeGreaterThan(minuteMs);
    });

    it("keeps its life where the reply to a load is lost, and the process with it", async () => {
      const server = await start();
      const key = await stored(client({ url: urlOf(server) }));
      const proxy = await startFaultProxy(server.port);
      onTestFinished(() => proxy.close());
      const storage = client({ url: urlOf(proxy), operationTimeoutMs: 150 });
      await waitUntil("the server answers", () => storage.load(freshKey()).then(Boolean, () => false));
      const redis = admin(server.port);
      proxy.hold("replies");

      await expect(storage.load(key, { renewTtlMs: minuteMs })).rejects.toMatchObject({
        code: "MSM_ERR_STORAGE_TIMEOUT",
      });

      const waysToLoad = ["getex", "eval", "evalsha"];
      await waitUntil("the server has carried it out", async () => {
        const counts = await Promise.all(waysToLoad.map((command) => sent(redis, command)));
        return counts.reduce((sum, count) => sum + count) >= 2; // and the one that stored it
      });
      expect(await redis.pttl(`${key}:s`)).toBeGreaterThan(minuteMs);
    });

    it("gets it also where it was the usual one when this process loaded it last", async () => {
      const server = await start();
      const [storage, other] = [client({ url: urlOf(server) }), client({ url: urlOf(server) })];
      const key = freshKey();
      await storage.putIfNewer(key, testRecord(), minuteMs);
      for (let loads = 0; loads < 2; loads++) await storage.load(key, { renewTtlMs: minuteMs });
      const longer = testRecord({ version: 2, idleTimeoutMs: ownTtlMs });
      await other.save(key, longer, ownTtlMs, { expect: { version: versionDigits(1) } });

      await storage.load(key, { renewTtlMs: minuteMs });

      expect(await admin(server.port).pttl(`${key}:s`)).toBeGreaterThan(minuteMs);
    });
  });

  it("works on when the server forgets its scripts", async () => {
    const server = await start();
    const storage = client({ url: urlOf(server) });
    const key = freshKey();
    await storage.save(key, testRecord(), minuteMs, { expect: "absent" });
    await storage.load(key, { renewTtlMs: minuteMs });
    await admin(server.port).script("FLUSH");

    expect((await storage.load(key, { renewTtlMs: minuteMs })).kind).toBe("found");
    expect((await storage.save(freshKey(), testRecord(), minuteMs, { expect: "absent" })).kind).toBe(
      "stored",
    );
  });

  it("rejects where another application keeps something else under the key", async () => {
    const server = await start();
    const storage = client({ url: urlOf(server) });
    const key = freshKey();
    await admin(server.port).lpush(`${key}:s`, "a list");

    const nonsense = { code: "MSM_ERR_STORAGE_PROTOCOL" };
    await expect(storage.load(key)).rejects.toMatchObject(nonsense);
    await expect(storage.save(key, testRecord(), minuteMs, { expect: "absent" })).rejects.toMatchObject(
      nonsense,
    );
    expect((await storage.load(freshKey())).kind).toBe("absent");
  });

  it.each(["allkeys-lru", "volatile-lru", "volatile-ttl"])(
    "warns once of a server that may evict (%s)",
    async (policy) => {
      const server = await start("--maxmemory-policy", policy);
      const warnings: string[] = [];
      const storage = client({ url: urlOf(server), onWarning: (message) => warnings.push(message) });

      await storage.load(freshKey());
      await waitUntil("the warning came", () => warnings.length > 0);
      await server.restart();
      await waitUntil("the server is back", () => storage.load(freshKey()).then(Boolean, () => false));
      await storage.load(freshKey());

      expect(warnings).toEqual([expect.stringContaining(policy)]);
    },
  );

  it("does not warn of a server that evicts nothing", async () => {
    const server = await start("--maxmemory-policy", "noeviction");
    const warnings: string[] = [];
    const storage = client({ url: urlOf(server), onWarning: (message) => warnings.push(message) });

    // Replies come in their order, so the second one comes after that to the question for the policy.
    await storage.load(freshKey());
    await storage.load(freshKey());

    expect(warnings).toEqual([]);
  });

  describe("releases", () => {
    const channel = "msm:released";
    const lease = () => ({ token: freshToken(), ttlMs: minuteMs });
    const storedKey = async (storage: Storage) => {
      const key = freshKey();
      await storage.save(key, testRecord(), minuteMs, { expect: "absent" });
      return key;
    };
    const unlockContended = async (storage: Storage, key: string) => {
      const mine = lease();
      await storage.load(key, { lease: mine });
      await storage.load(key, { lease: lease() });
      return storage.unlock(key, mine.token);
    };
    const subscribers = async (redis: Redis) => {
      const [, count] = (await redis.pubsub("NUMSUB", channel)) as [string, number];
      return count;
    };

    it("are told to others only where somebody was refused", async () => {
      const server = await start();
      const storage = client({ url: urlOf(server) });
      const told: string[] = [];
      const watch = admin(server.port);
      await watch.subscribe(channel);
      watch.on("message", (_channel, message) => told.push(message));
      const [quiet, saved, wanted] = [freshKey(), freshKey(), freshKey()];
      for (const key of [quiet, saved, wanted]) {
        await storage.save(key, testRecord({ version: 1 }), minuteMs, { expect: "absent" });
      }
      const mine = lease();

      await storage.load(quiet, { lease: mine });
      await storage.unlock(quiet, mine.token);
      for (const key of [quiet, saved]) {
        const loaded = await storage.load(key, { lease: mine });
        if (loaded.kind !== "found") throw new Error("the record was just stored");
        if (key === saved) await storage.load(key, { lease: lease() });
        const options = { expect: loaded.revision, unlock: mine.token };
        await storage.save(key, testRecord({ version: 2 }), minuteMs, options);
      }
      await unlockContended(storage, wanted);

      await waitUntil("the last one was told", () => told.includes(`${wanted}:l`));
      expect(told).toEqual([`${saved}:l`, `${wanted}:l`]);
    });

    it("are heard of on one connection, opened when somebody listens, and ended by close()", async () => {
      const server = await start();
      const redis = admin(server.port);
      const storage = client({ url: urlOf(server) });
      await storage.load(freshKey());
      expect(await subscribers(redis)).toBe(0);

      for (let count = 0; count < 20; count += 1) storage.onRelease!(freshKey(), () => {});
      await waitUntil("it listens", async () => (await subscribers(redis)) > 0);
      expect(await subscribers(redis)).toBe(1);

      await storage.close();
      await waitUntil("it does not listen any more", async () => (await subscribers(redis)) === 0);
      storage.onRelease!(freshKey(), () => {});
      // When another one that asked later hears of a release, this one would listen by now.
      const later = client({ url: urlOf(server) });
      const key = await storedKey(later);
      let isHeard = false;
      later.onRelease!(key, () => {
        isHeard = true;
      });
      await waitUntil("another one hears", async () => (await unlockContended(later, key)) && isHeard);
      expect(await subscribers(redis)).toBe(1);
    });

    it("are heard of again by who listens after the connection was lost", async () => {
      const server = await start();
      const redis = admin(server.port);
      const storage = client({ url: urlOf(server) });
      const key = await storedKey(storage);
      storage.onRelease!(freshKey(), () => {});
      await waitUntil("it listens", async () => (await subscribers(redis)) === 1);
      await redis.call("CLIENT", "KILL", "TYPE", "pubsub");
      expect(await subscribers(redis)).toBe(0);

      await waitUntil("it listens again", async () => {
        storage.onRelease!(freshKey(), () => {})();
        return (await subscribers(redis)) === 1;
      });
      const heard = new Promise<void>((resolve) => {
        storage.onRelease!(key, resolve);
      });

      await unlockContended(storage, key);

      await heard;
    });

    it("are heard of on a new connection where that for the operations had to be opened anew", async () => {
      const proxy = await startFaultProxy((await start()).port);
      onTestFinished(() => proxy.close());
      const storage = client({ url: urlOf(proxy), operationTimeoutMs: 150 });
      await waitUntil("the server answers", () => storage.load(freshKey()).then(Boolean, () => false));
      const before = proxy.accepted;
      storage.onRelease!(freshKey(), () => {});
      await waitUntil("it listens", () => proxy.accepted === before + 1);
      proxy.hold();
      await expect(storage.load(freshKey())).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_TIMEOUT" });
      proxy.pass();

      await waitUntil("the server answers again", () => storage.load(freshKey()).then(Boolean, () => false));

      await waitUntil("both connections are new", () => proxy.accepted >= before + 3);
    });

    it("harm nobody where the server cannot be reached", async () => {
      const storage = client({ url: `redis://127.0.0.1:${await freePort()}` });

      storage.onRelease!(freshKey(), () => {});

      await expect(storage.ping()).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
    });

    it.each([
      ["no channel", ["+publish", "+subscribe", "resetchannels"]],
      ["no command for channels", ["-publish", "-subscribe", "allchannels"]],
    ])("are free all the same where the user may use %s", async (_what, rules) => {
      const server = await start();
      const redis = admin(server.port);
      await redis.acl("SETUSER", "msm", "on", ">secret", "~msm:*", "+@all", ...rules);
      const storage = client({ url: `redis://msm:secret@127.0.0.1:${server.port}` });
      const key = await storedKey(storage);
      storage.onRelease!(key, () => {});

      expect(await unlockContended(storage, key)).toBe(true);
      const mine = lease();
      const loaded = await storage.load(key, { lease: mine });
      await storage.load(key, { lease: lease() });
      const saved = await storage.save(key, testRecord({ version: 2 }), minuteMs, {
        expect: { version: versionDigits(1) },
        unlock: mine.token,
      });

      expect(loaded.kind).toBe("found");
      expect(saved.kind).toBe("stored");
      expect((await storage.load(key, { lease: lease() })).kind).toBe("found");
      expect(await subscribers(redis)).toBe(0);
    });

    it("need no more memory than there is", async () => {
      const server = await start();
      const storage = client({ url: urlOf(server) });
      const key = await storedKey(storage);
      const mine = lease();
      await storage.load(key, { lease: mine });
      await admin(server.port).config("SET", "maxmemory", "1");

      expect((await storage.load(key, { lease: lease() })).kind).toBe("locked");
      expect(await storage.unlock(key, mine.token)).toBe(true);
    });
  });

  it("uses the database that the address names", async () => {
    const server = await start();
    const key = freshKey();
    await client({ url: `${urlOf(server)}/3` }).putIfNewer(key, testRecord(), minuteMs);

    expect((await client({ url: urlOf(server) }).load(key)).kind).toBe("absent");
    expect((await client({ url: `${urlOf(server)}/3` }).load(key)).kind).toBe("found");
  });

  it("connects through a unix socket", async () => {
    const folder = mkdtempSync(join(tmpdir(), "msm-redis-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, "redis.sock");
    await start("--unixsocket", path);
    const key = freshKey();
    await client({ url: `redis+unix://${path}?db=3` }).putIfNewer(key, testRecord(), minuteMs);

    expect((await client({ url: path }).load(key)).kind).toBe("absent");
    expect((await client({ options: { path, db: 3 } }).load(key)).kind).toBe("found");
  });
});
