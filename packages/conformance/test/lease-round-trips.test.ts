import { memcachedStorage, type Revision, redisStorage, type Storage } from "@msm/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  freshKey,
  freshToken,
  memcachedCommand,
  needsProgram,
  redisCommand,
  type ServerCommand,
  startServer,
  type TestServer,
  testRecord,
} from "../src/index.js";
import {
  memcachedRequests,
  memcachedTextRequests,
  type RequestReader,
  type RequestTap,
  redisRequests,
  startTap,
} from "./request-tap.js";

/** What passes the wire: how many round trips, with which requests. */
interface Traffic {
  readonly trips: number;
  readonly requests: readonly string[];
}

interface Kind {
  readonly program: string;
  /** Default: the program. */
  readonly name?: string;
  readonly command: ServerCommand;
  readonly read: RequestReader;
  readonly create: (port: number) => Storage;
  readonly load: Traffic;
  readonly saveWithUnlock: Traffic;
  /** A load by who has the lease already. */
  readonly loadAgain: Traffic;
  /** A load that is refused, and leaves its mark. */
  readonly refusedLoad: Traffic;
}

const script: Traffic = { trips: 1, requests: ["EVALSHA"] };
const operationTimeoutMs = 5000;

const kinds: readonly Kind[] = [
  {
    program: "memcached",
    command: memcachedCommand(),
    read: memcachedRequests,
    create: (port) => memcachedStorage({ host: "127.0.0.1", port, operationTimeoutMs }),
    // ADD and GET of the lease, get-and-touch of the record.
    load: { trips: 1, requests: ["0x02", "0x00", "0x1d"] },
    // REPLACE of the record, DELETE of the lease.
    saveWithUnlock: { trips: 1, requests: ["0x03", "0x04"] },
    // The load, then REPLACE of the lease with GET of the mark.
    loadAgain: { trips: 2, requests: ["0x02", "0x00", "0x1d", "0x03", "0x00"] },
    // The load, then SET of the mark: only who waits anyway pays for it.
    refusedLoad: { trips: 2, requests: ["0x02", "0x00", "0x1d", "0x01"] },
  },
  {
    program: "memcached",
    name: "memcached in the meta protocol",
    command: memcachedCommand(),
    read: memcachedTextRequests,
    create: (port) => memcachedStorage({ host: "127.0.0.1", port, operationTimeoutMs, protocol: "meta" }),
    // Behind each write goes the question for the CAS id of what it wrote.
    load: { trips: 1, requests: ["add", "mg", "mg", "mg"] },
    saveWithUnlock: { trips: 1, requests: ["cas", "mg", "md"] },
    loadAgain: { trips: 2, requests: ["add", "mg", "mg", "mg", "cas", "mg", "mg"] },
    refusedLoad: { trips: 2, requests: ["add", "mg", "mg", "mg", "ms"] },
  },
  {
    program: "redis-server",
    command: redisCommand(),
    read: redisRequests,
    create: (port) => redisStorage({ url: `redis://127.0.0.1:${port}`, operationTimeoutMs }),
    load: script,
    saveWithUnlock: script,
    loadAgain: script,
    refusedLoad: script,
  },
];

const minuteMs = 60_000;

for (const kind of kinds) {
  const { skip, reason } = needsProgram(kind.program);

  describe.skipIf(skip)(
    `round trips to ${kind.name ?? kind.program} for a session with a lease${reason}`,
    () => {
      let server: TestServer;
      let tap: RequestTap;
      let storage: Storage;

      beforeAll(async () => {
        server = await startServer(kind.command);
        tap = await startTap(server.port, kind.read);
        storage = kind.create(tap.port);
        await warmUp();
      });
      afterAll(async () => {
        await storage?.close();
        await tap?.close();
        await server?.close();
      });

      const lease = () => ({ token: freshToken(), ttlMs: minuteMs });

      const storedKey = async () => {
        const key = freshKey();
        await storage.save(key, testRecord({ version: 1 }), minuteMs, { expect: "absent" });
        return key;
      };

      const load = async (key: string, mine: { token: string; ttlMs: number }): Promise<Revision> => {
        const loaded = await storage.load(key, { lease: mine, renewTtlMs: minuteMs });
        if (loaded.kind !== "found") throw new Error(`expected found, got ${loaded.kind}`);
        return loaded.revision;
      };

      const save = (key: string, version: number, expected: Revision, token?: string) =>
        storage.save(key, testRecord({ version }), minuteMs, {
          expect: expected,
          ...(token === undefined ? {} : { unlock: token }),
        });

      /** Whatever is done once per connection is done here; Redis has to see each script once. */
      async function warmUp(): Promise<void> {
        const key = await storedKey();
        const mine = lease();
        await save(key, 2, await load(key, mine), mine.token);
      }

      const trafficOf = async (work: () => Promise<unknown>): Promise<Traffic> => {
        tap.take();
        tap.takeTrips();
        await work();
        return { trips: tap.takeTrips(), requests: tap.take() };
      };

      it("is one for a load that takes it, and one for a save that gives it back", async () => {
        const key = await storedKey();
        const mine = lease();
        let revision: Revision | undefined;

        const loading = await trafficOf(async () => {
          revision = await load(key, mine);
        });
        const saving = await trafficOf(() => save(key, 2, revision!, mine.token));

        expect(loading).toEqual(kind.load);
        expect(saving).toEqual(kind.saveWithUnlock);
        expect(await storage.unlock(key, mine.token), "it was given back").toBe(false);
      });

      it("is one for the save that gives it back after another that kept it", async () => {
        const key = await storedKey();
        const mine = lease();
        const first = await save(key, 2, await load(key, mine));
        if (first.kind !== "stored") throw new Error(`expected stored, got ${first.kind}`);

        const saving = await trafficOf(() => save(key, 3, first.revision, mine.token));

        expect(saving).toEqual(kind.saveWithUnlock);
        expect(await storage.unlock(key, mine.token), "it was given back").toBe(false);
      });

      it("are as few for who has it already, wanted or not, and for who is refused", async () => {
        const key = await storedKey();
        const mine = lease();
        await load(key, mine);

        expect(await trafficOf(() => load(key, mine))).toEqual(kind.loadAgain);
        expect(await trafficOf(() => storage.load(key, { lease: lease(), renewTtlMs: minuteMs }))).toEqual(
          kind.refusedLoad,
        );
        expect(await trafficOf(() => load(key, mine))).toEqual(kind.loadAgain);
        const revision = await load(key, mine);
        expect(await trafficOf(() => save(key, 2, revision, mine.token))).toEqual(kind.saveWithUnlock);
      });
    },
  );
}
