import { once } from "node:events";
import { connect, createServer } from "node:net";
import {
  freshKey,
  freshToken,
  memcachedCommand,
  needsProgram,
  outcomeOf,
  pause,
  payloadOf,
  startFaultProxy,
  startServer,
  testRecord,
  versionDigits,
  waitUntil,
} from "@msm/conformance";
import {
  type LoadResult,
  type MemcachedProtocol,
  memcachedStorage,
  type Revision,
  type SaveResult,
  type Storage,
} from "@msm/core";
import { describe, expect, it, onTestFinished } from "vitest";

const minuteMs = 60_000;

/** What memcached asks of its storage besides the contract, in whichever protocol they speak. */
export function memcachedAsAStorage(protocol: MemcachedProtocol): void {
  const { skip, reason } = needsProgram("memcached");

  describe.skipIf(skip)(`memcached as a storage, ${protocol} protocol${reason}`, () => {
    const start = async (...serverArguments: string[]) => {
      const server = await startServer(memcachedCommand(...serverArguments));
      onTestFinished(() => server.close());
      return server;
    };
    const client = (address: { host: string; port: number }): Storage => {
      const storage = memcachedStorage({ ...addressOf(address), operationTimeoutMs: 5000, protocol });
      onTestFinished(() => storage.close());
      return storage;
    };

    it("keeps the old record where a new one is too large", async () => {
      const storage = client(await start());
      const key = freshKey();
      const { revision } = stored(
        await storage.save(key, testRecord({ payload: "old" }), minuteMs, { expect: "absent" }),
      );
      const tooLarge = testRecord({ version: 2, payload: Buffer.alloc(1_200_000) });

      const refused = { code: "MSM_ERR_STORAGE_REFUSED" };
      await expect(storage.save(key, tooLarge, minuteMs, { expect: revision })).rejects.toMatchObject(
        refused,
      );
      await expect(storage.putIfNewer(key, tooLarge, minuteMs)).rejects.toMatchObject(refused);
      await expect(storage.save(freshKey(), tooLarge, minuteMs, { expect: "absent" })).rejects.toMatchObject(
        refused,
      );

      const loaded = await storage.load(key);
      expect(loaded.kind === "found" && payloadOf(loaded.record).toString()).toBe("old");
    });

    it("takes no CAS id for its record's that was read before the server started anew", async () => {
      const server = await start();
      const storage = client(server);
      const key = freshKey();
      const before = stored(
        await storage.save(key, testRecord({ version: 1 }), minuteMs, { expect: "absent" }),
      ).revision;
      await server.restart();
      const theirs = testRecord({ version: 7 });
      const after = stored(await client(server).save(key, theirs, minuteMs, { expect: "absent" })).revision;
      expect(casOf(after), "the server counts from the start again").toBe(casOf(before));

      const saved = await untilAnswered(() =>
        storage.save(key, testRecord({ version: 2 }), minuteMs, { expect: before }),
      );

      expect(saved).toEqual({ kind: "conflict" });
      expect(await storage.load(key)).toMatchObject({
        kind: "found",
        revision: { version: versionDigits(7) },
      });
    });

    it("saves on a new connection what was loaded on an old one, where nothing changed", async () => {
      const proxy = await startFaultProxy((await start()).port);
      onTestFinished(() => proxy.close());
      const storage = client(proxy);
      const key = freshKey();
      const { revision } = stored(
        await storage.save(key, testRecord({ version: 1 }), minuteMs, { expect: "absent" }),
      );
      proxy.endAll("rst");
      await waitUntil("the connection is gone", () => proxy.open === 0);

      const saved = await untilAnswered(() =>
        storage.save(key, testRecord({ version: 2 }), minuteMs, { expect: revision }),
      );

      expect(saved.kind).toBe("stored");
    });

    it("frees no lease that became another's between the look and the deed", async () => {
      const server = await start();
      const proxy = await startFaultProxy(server.port);
      onTestFinished(() => proxy.close());
      const [storage, other] = [client(proxy), client(server)];
      const key = freshKey();
      const [mine, theirs] = [freshToken(), freshToken()];
      await other.putIfNewer(key, testRecord(), minuteMs);
      await storage.load(key, { lease: { token: mine, ttlMs: minuteMs } });
      const answered = proxy.passed.requests;
      proxy.hold("replies");

      const unlocking = storage.unlock(key, mine);
      await waitUntil("it asked whose the lease is", () => proxy.passed.requests > answered);
      await other.unlock(key, mine);
      await other.load(key, { lease: { token: theirs, ttlMs: minuteMs } });
      proxy.pass();

      expect(await unlocking).toBe(false);
      expect(await other.unlock(key, theirs)).toBe(true);
    });

    it("keeps the lease where the record that should have given it back is too large", async () => {
      const storage = client(await start());
      const key = freshKey();
      const lease = { token: freshToken(), ttlMs: minuteMs };
      await storage.save(key, testRecord({ version: 1 }), minuteMs, { expect: "absent" });
      const { revision } = found(await storage.load(key, { lease }));
      const tooLarge = testRecord({ version: 2, payload: Buffer.alloc(1_200_000) });

      await expect(
        storage.save(key, tooLarge, minuteMs, { expect: revision, unlock: lease.token }),
      ).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_REFUSED" });

      expect(await storage.unlock(key, lease.token)).toBe(true);
    });

    it("leaves the lease to who was faster where a refused save had given it back", async () => {
      const server = await start();
      const proxy = await startFaultProxy(server.port);
      onTestFinished(() => proxy.close());
      const [storage, other] = [client(proxy), client(server)];
      const key = freshKey();
      const [mine, theirs] = [freshToken(), freshToken()];
      await other.save(key, testRecord({ version: 1 }), minuteMs, { expect: "absent" });
      const { revision } = found(await storage.load(key, { lease: { token: mine, ttlMs: minuteMs } }));
      await other.putIfNewer(key, testRecord({ version: 5 }), minuteMs);
      proxy.hold("replies");

      const saving = storage.save(key, testRecord({ version: 2 }), minuteMs, {
        expect: revision,
        unlock: mine,
      });
      const wanted = { token: theirs, ttlMs: minuteMs };
      await waitUntil(
        "it was given back",
        async () => (await other.load(key, { lease: wanted })).kind === "found",
      );
      proxy.pass();

      expect(await saving).toEqual({ kind: "conflict" });
      expect(await storage.unlock(key, mine)).toBe(false);
      expect(await other.unlock(key, theirs)).toBe(true);
    });

    it("says that a lease is another's, though word cannot be left that it is wanted", async () => {
      const server = await start();
      const port = await withoutSet(server.port, protocol);
      const storage = client({ host: "127.0.0.1", port });
      const key = freshKey();
      const mine = { token: freshToken(), ttlMs: minuteMs };
      await storage.save(key, testRecord(), minuteMs, { expect: "absent" });
      await storage.load(key, { lease: mine });

      const locked = await storage.load(key, { lease: { token: freshToken(), ttlMs: minuteMs } });

      expect(locked.kind).toBe("locked");
    });

    it("refuses a server without CAS ids, where every version check would pass", async () => {
      const storage = client(await start("-C"));

      await expect(
        storage.save(freshKey(), testRecord(), minuteMs, { expect: "absent" }),
      ).rejects.toMatchObject({
        code: "MSM_ERR_STORAGE_PROTOCOL",
        message: expect.stringContaining("-C"),
      });
    });

    it("says that the server refuses where its memory is full, and goes on reading", async () => {
      const storage = client(await start("-M", "-m", "2"));
      const key = freshKey();
      await storage.save(key, testRecord({ payload: "first" }), minuteMs, { expect: "absent" });
      const fill = async () => {
        for (let count = 0; count < 1000; count += 1) {
          await storage.save(freshKey(), testRecord({ payload: Buffer.alloc(50_000) }), minuteMs, {
            expect: "absent",
          });
        }
      };

      await expect(fill()).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_REFUSED" });

      const loaded = await storage.load(key);
      expect(loaded.kind === "found" && payloadOf(loaded.record).toString()).toBe("first");
    });

    it("never gives the bytes of one key for another's, however often the server stops in the middle of them", async () => {
      const server = await start();
      const direct = client(server);
      const records = new Map(
        Array.from({ length: 8 }, () => {
          const key = freshKey();
          return [key, testRecord({ payload: key.repeat(Math.floor(600_000 / key.length)) })] as const;
        }),
      );
      for (const [key, record] of records) await direct.putIfNewer(key, record, minuteMs);
      const storage = memcachedStorage({ ...addressOf(server), operationTimeoutMs: 150, protocol });
      onTestFinished(() => storage.close());
      const loadOf = async (key: string, record: Buffer) => {
        const loaded = await storage.load(key);
        return loaded.kind === "found" && record.equals(loaded.record);
      };
      const outcomes: unknown[] = [];

      for (let round = 0; round < 6; round += 1) {
        const loads = [...records].map(([key, record]) => outcomeOf(loadOf(key, record)));
        await pause(round % 3); // somewhere in the 5 MB that it sends
        await server.freeze();
        outcomes.push(...(await Promise.all(loads)));
        server.thaw();
      }
      const rejectedOrRight = outcomes.filter((outcome) => outcome === "right" || outcome === "rejected");
      expect(rejectedOrRight).toHaveLength(48);
      for (const [key, record] of records) {
        await waitUntil("it works again", async () => (await outcomeOf(loadOf(key, record))) === "right");
      }
    });

    it.each(["a record", "a tombstone"])(
      "keeps %s where there is no memory for what should replace it",
      async (what) => {
        const storage = client(await start("-M", "-m", "2"));
        const key = freshKey();
        const version = what === "a tombstone" ? "tombstone" : 1;
        const old = testRecord({ version });
        const { revision } = stored(await storage.save(key, old, minuteMs, { expect: "absent" }));
        const large = testRecord({ version: 2, payload: Buffer.alloc(50_000) });
        const refused = { code: "MSM_ERR_STORAGE_REFUSED" };
        const fill = async () => {
          for (let count = 0; count < 1000; count += 1) {
            await storage.save(freshKey(), large, minuteMs, { expect: "absent" });
          }
        };
        await expect(fill()).rejects.toMatchObject(refused);

        const late = what === "a tombstone" ? "absent" : revision;
        await expect(storage.save(key, large, minuteMs, { expect: late })).rejects.toMatchObject(refused);

        const loaded = await storage.load(key);
        expect(loaded.kind === "found" && Buffer.from(loaded.record)).toEqual(old);
      },
    );

    it("connects anew after the server hung up on an idle connection", async () => {
      const proxy = await startFaultProxy((await start("-o", "idle_timeout=1")).port);
      onTestFinished(() => proxy.close());
      const storage = client(proxy);
      await storage.load(freshKey());
      await waitUntil("the server hung up", () => proxy.open === 0);

      expect(await storage.load(freshKey())).toEqual({ kind: "absent" });
    });
  });
}

/** Gives the port of a proxy before a memcached that ends each connection on which it is told to SET. */
async function withoutSet(targetPort: number, protocol: MemcachedProtocol): Promise<number> {
  const isSet = (bytes: Buffer) =>
    protocol === "meta" ? bytes.toString("latin1", 0, 3) === "ms " : bytes[1] === setOpcode;
  const proxy = createServer((socket) => {
    const target = connect(targetPort, "127.0.0.1");
    socket.on("data", (bytes) => {
      if (isSet(bytes)) socket.destroy();
      else target.write(bytes);
    });
    target.pipe(socket);
    socket.on("close", () => target.destroy());
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  onTestFinished(() => void proxy.close());
  const address = proxy.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return address.port;
}

const setOpcode = 0x01;

function found(result: LoadResult): { readonly revision: Revision } {
  if (result.kind !== "found") throw new Error(`expected found, got ${result.kind}`);
  return result;
}

function stored(result: SaveResult): { readonly revision: Revision } {
  if (result.kind !== "stored") throw new Error(`expected stored, got ${result.kind}`);
  return result;
}

const addressOf = ({ host, port }: { host: string; port: number }) => ({ host, port });

const casOf = (revision: Revision) => ("cas" in revision ? revision.cas : undefined);

/** The first operation after a connection was lost may meet its end. */
async function untilAnswered<T>(run: () => Promise<T>): Promise<T> {
  let result: { readonly value: T } | undefined;
  await waitUntil("the storage answers", async () => {
    result = await run().then(
      (value) => ({ value }),
      () => undefined,
    );
    return result !== undefined;
  });
  return result!.value;
}
