import { randomBytes } from "node:crypto";
import { type LoadResult, MsmError, type SaveResult, type Storage } from "@msm/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freshKey, freshToken, payloadOf, testRecord, versionDigits } from "./records.js";
import { waitUntil } from "./wait-until.js";

/** One storage node and two clients of it. */
export interface StorageUnderTest {
  readonly storage: Storage;
  /** Another client of the same node. What lives in this process only gives the same again. */
  readonly other: Storage;
  /** Ends what `create` started; the storages as well. */
  close(): Promise<void>;
}

export interface StorageContractOptions {
  /** Skips the suite; the reason belongs into its name. Default false. */
  readonly skip?: boolean;
  /** Size of the largest record that is tried. Default 500,000. */
  readonly largeRecordBytes?: number;
  /** How many operations run at once where many do. Default 200. */
  readonly parallel?: number;
  /** Whether what takes seconds is tried as well: that records and leases end by themselves. Default true. */
  readonly timesToLive?: boolean;
  /** Whether the storage has `onRelease`. Default false. */
  readonly onRelease?: boolean;
}

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

/**
 * Everything that the docstrings of `Storage` promise, as tests. A new storage starts with
 * `storageContract("mine", () => ({ storage: mine(), other: mine(), close }))`.
 */
export function storageContract(
  name: string,
  create: () => Promise<StorageUnderTest>,
  options: StorageContractOptions = {},
): void {
  const { skip = false, largeRecordBytes = 500_000, parallel = 200 } = options;
  const { timesToLive = true, onRelease = false } = options;
  const timed = (title: string, run: () => Promise<void>) => {
    if (timesToLive) it.concurrent(title, run);
  };

  describe.skipIf(skip)(`storage contract: ${name}`, () => {
    let underTest: StorageUnderTest;
    let storage: Storage;
    let other: Storage;

    beforeAll(async () => {
      underTest = await create();
      ({ storage, other } = underTest);
    });

    afterAll(() => underTest?.close());

    /** Stores a record under a fresh key. */
    const stored = async (parts: Parameters<typeof testRecord>[0] = {}, ttlMs = minuteMs) => {
      const key = freshKey();
      const record = testRecord(parts);
      const { revision } = must(await storage.save(key, record, ttlMs, { expect: "absent" }), "stored");
      return { key, record, revision };
    };

    const isAbsent = async (key: string) => (await storage.load(key)).kind === "absent";

    describe("load", () => {
      it("gives absent where there is no record", async () => {
        expect(await storage.load(freshKey())).toEqual({ kind: "absent" });
      });

      it("gives the bytes and the version of a record that another client stored", async () => {
        const { key, record } = await stored({ version: 7 });

        const loaded = must(await other.load(key), "found");

        expect(Buffer.from(loaded.record)).toEqual(record);
        expect(loaded.revision.version).toBe(versionDigits(7));
      });

      it("gives every byte value back as it was", async () => {
        const payload = Buffer.concat([
          Buffer.from("\r\n\0END\r\n$-1\r\n"),
          Buffer.from([...Array(256).keys()]),
        ]);
        const { key } = await stored({ payload });

        expect(payloadOf(must(await storage.load(key), "found").record)).toEqual(payload);
      });

      it("gives a large record back as it was", async () => {
        const payload = randomBytes(largeRecordBytes);
        const { key } = await stored({ payload });

        expect(payloadOf(must(await storage.load(key), "found").record).equals(payload)).toBe(true);
      });

      it("gives a record that stays the same, whatever the caller does to the bytes", async () => {
        const { key, record } = await stored();
        const loaded = must(await storage.load(key), "found").record;

        loaded.fill(0);

        expect(Buffer.from(must(await storage.load(key), "found").record)).toEqual(record);
      });

      it("gives a tombstone like any record", async () => {
        const { key } = await stored({ version: "tombstone" });

        expect(must(await storage.load(key), "found").revision.version).toBe(versionDigits("tombstone"));
      });
    });

    describe("times to live", () => {
      timed("lets a record go when its time is over", async () => {
        const { key } = await stored({}, 1000);

        await waitUntil("the record is gone", () => isAbsent(key));
      });

      timed("keeps a record for more than thirty days", async () => {
        const keys = await Promise.all(
          [31 * dayMs, 400 * dayMs].map(async (ttlMs) => (await stored({}, ttlMs)).key),
        );
        const { key: touched } = await stored();
        expect(await storage.touch(touched, 31 * dayMs)).toBe(true);
        const { key: renewed } = await stored();
        await storage.load(renewed, { renewTtlMs: 31 * dayMs });

        for (const key of [...keys, touched, renewed]) expect((await storage.load(key)).kind).toBe("found");
      });

      timed("renews a record that names no idle timeout for the time that load is given", async () => {
        const { key } = await stored({ idleTimeoutMs: 0 }, 2000);
        const { key: control } = await stored({}, 2000);

        await storage.load(key, { renewTtlMs: minuteMs });

        await waitUntil("the record that was not renewed is gone", () => isAbsent(control));
        expect((await storage.load(key)).kind).toBe("found");
      });

      timed("renews a record for the idle timeout that it names, where that is longer", async () => {
        const { key } = await stored({ idleTimeoutMs: minuteMs }, 2000);
        const { key: control } = await stored({}, 2000);

        await storage.load(key, { renewTtlMs: 1000 });

        await waitUntil("the record that was not renewed is gone", () => isAbsent(control));
        expect((await storage.load(key)).kind).toBe("found");
      });

      timed("renews a record for the idle timeout that it names, where that is shorter", async () => {
        const { key } = await stored({ idleTimeoutMs: 1000 }, minuteMs);

        await storage.load(key, { renewTtlMs: minuteMs });

        await waitUntil("the record is gone", () => isAbsent(key));
      });

      timed("renews a record that is loaded with its lease", async () => {
        const { key } = await stored({}, 2000);
        const { key: control } = await stored({}, 2000);

        await storage.load(key, { renewTtlMs: minuteMs, lease: { token: freshToken(), ttlMs: 3000 } });

        await waitUntil("the record that was not renewed is gone", () => isAbsent(control));
        expect((await storage.load(key)).kind).toBe("found");
      });

      timed("leaves the time to live alone where load is not asked to renew it", async () => {
        const { key } = await stored({ idleTimeoutMs: minuteMs }, 1000);

        await waitUntil("the record is gone", () => isAbsent(key));
      });

      timed("gives a record a new time to live by touch", async () => {
        const { key } = await stored({}, 2000);
        const { key: control } = await stored({}, 2000);

        expect(await storage.touch(key, minuteMs)).toBe(true);

        await waitUntil("the record that was not touched is gone", () => isAbsent(control));
        expect((await storage.load(key)).kind).toBe("found");
      });

      it("says by touch that there is no record", async () => {
        expect(await storage.touch(freshKey(), minuteMs)).toBe(false);
      });

      timed("gives a record a new time to live with each save", async () => {
        const { key, revision } = await stored({ version: 1 }, 2000);
        const { key: control } = await stored({}, 2000);

        await storage.save(key, testRecord({ version: 2 }), minuteMs, { expect: revision });

        await waitUntil("the record that was not saved again is gone", () => isAbsent(control));
        expect((await storage.load(key)).kind).toBe("found");
      });
    });

    describe("save", () => {
      it("stores a first record, and no second one as the first", async () => {
        const { key, record } = await stored();

        expect(await other.save(key, testRecord(), minuteMs, { expect: "absent" })).toEqual({
          kind: "conflict",
        });
        expect(Buffer.from(must(await storage.load(key), "found").record)).toEqual(record);
      });

      it("replaces the version that was loaded", async () => {
        const { key } = await stored({ version: 1 });
        const { revision } = must(await other.load(key), "found");
        const next = testRecord({ version: 2 });

        const saved = must(await other.save(key, next, minuteMs, { expect: revision }), "stored");

        expect(saved.revision.version).toBe(versionDigits(2));
        expect(Buffer.from(must(await storage.load(key), "found").record)).toEqual(next);
      });

      it("replaces version after version with the revisions that save gave", async () => {
        let { key, revision } = await stored({ version: 1 });

        for (let version = 2; version <= 5; version += 1) {
          const saved = await storage.save(key, testRecord({ version }), minuteMs, { expect: revision });
          revision = must(saved, "stored").revision;
        }

        expect(must(await other.load(key), "found").revision.version).toBe(versionDigits(5));
      });

      it("replaces a version of which nothing but the number is known", async () => {
        const { key } = await stored({ version: 1 });

        const saved = await storage.save(key, testRecord({ version: 2 }), minuteMs, {
          expect: { version: versionDigits(1) },
        });

        expect(saved.kind).toBe("stored");
      });

      it("gives conflict where another version is there, and leaves it there", async () => {
        const { key, revision } = await stored({ version: 1 });
        const theirs = testRecord({ version: 2 });
        await other.save(key, theirs, minuteMs, { expect: revision });

        const saved = await storage.save(key, testRecord({ version: 2 }), minuteMs, { expect: revision });

        expect(saved).toEqual({ kind: "conflict" });
        expect(Buffer.from(must(await storage.load(key), "found").record)).toEqual(theirs);
      });

      it("gives gone where nothing is there, and stores nothing", async () => {
        const key = freshKey();

        const saved = await storage.save(key, testRecord({ version: 2 }), minuteMs, {
          expect: { version: versionDigits(1) },
        });

        expect(saved).toEqual({ kind: "gone" });
        expect(await storage.load(key)).toEqual({ kind: "absent" });
      });

      timed("gives gone where the record's time was over since it was loaded", async () => {
        const { key, revision } = await stored({ version: 1 }, 1000);
        await waitUntil("the record is gone", () => isAbsent(key));

        const saved = await storage.save(key, testRecord({ version: 2 }), minuteMs, { expect: revision });

        expect(saved).toEqual({ kind: "gone" });
      });

      it("knows its own first record, whose reply was lost", async () => {
        const { key, record } = await stored();

        const again = must(await storage.save(key, record, minuteMs, { expect: "absent" }), "stored");

        const next = await storage.save(key, testRecord({ version: 2 }), minuteMs, {
          expect: again.revision,
        });
        expect(next.kind).toBe("stored");
      });

      it("knows its own later record, whose reply was lost", async () => {
        const { key, revision } = await stored({ version: 1 });
        const record = testRecord({ version: 2 });
        await storage.save(key, record, minuteMs, { expect: revision });

        const again = must(await storage.save(key, record, minuteMs, { expect: revision }), "stored");

        expect(again.revision.version).toBe(versionDigits(2));
        const next = await storage.save(key, testRecord({ version: 3 }), minuteMs, {
          expect: again.revision,
        });
        expect(next.kind).toBe("stored");
      });

      it("takes no record of the same version for its own", async () => {
        const { key } = await stored({ version: 1, writeId: "00000000000000aa" });

        const saved = await storage.save(
          key,
          testRecord({ version: 1, writeId: "00000000000000ab" }),
          minuteMs,
          {
            expect: "absent",
          },
        );

        expect(saved).toEqual({ kind: "conflict" });
      });

      it("lets exactly one of two clients win each version", async () => {
        const { key } = await stored({ version: 1 });

        for (let version = 2; version <= 21; version += 1) {
          const clients = [storage, other, storage, other];
          const loaded = await Promise.all(clients.map((client) => client.load(key)));
          const results = await Promise.all(
            clients.map((client, index) =>
              client.save(key, testRecord({ version }), minuteMs, {
                expect: must(loaded[index]!, "found").revision,
              }),
            ),
          );
          expect(results.filter((result) => result.kind === "stored")).toHaveLength(1);
          expect(results.filter((result) => result.kind === "conflict")).toHaveLength(3);
        }
      });

      it("lets exactly one of two clients store the first record", async () => {
        for (let round = 0; round < 10; round += 1) {
          const key = freshKey();
          const results = await Promise.all(
            [storage, other].map((client) => client.save(key, testRecord(), minuteMs, { expect: "absent" })),
          );
          expect(results.map((result) => result.kind).sort()).toEqual(["conflict", "stored"]);
        }
      });
    });

    describe("putIfNewer", () => {
      it("writes where nothing is", async () => {
        const key = freshKey();

        expect(await storage.putIfNewer(key, testRecord({ version: 3 }), minuteMs)).toBe(true);

        expect(must(await other.load(key), "found").revision.version).toBe(versionDigits(3));
      });

      it("writes over an older version", async () => {
        const { key } = await stored({ version: 9 });

        expect(await storage.putIfNewer(key, testRecord({ version: 10 }), minuteMs)).toBe(true);

        expect(must(await other.load(key), "found").revision.version).toBe(versionDigits(10));
      });

      it("leaves the same version, and newer ones, alone", async () => {
        const { key, record } = await stored({ version: 16 });

        expect(await storage.putIfNewer(key, record, minuteMs)).toBe(false);
        expect(await storage.putIfNewer(key, testRecord({ version: 16 }), minuteMs)).toBe(false);
        expect(await storage.putIfNewer(key, testRecord({ version: 15 }), minuteMs)).toBe(false);

        expect(Buffer.from(must(await other.load(key), "found").record)).toEqual(record);
      });

      it("makes the save of whoever loaded before a conflict", async () => {
        const { key, revision } = await stored({ version: 1 });
        await other.putIfNewer(key, testRecord({ version: 5 }), minuteMs);

        const saved = await storage.save(key, testRecord({ version: 2 }), minuteMs, { expect: revision });

        expect(saved).toEqual({ kind: "conflict" });
      });

      it("ends with the newest, whatever the order and the number of those who write", async () => {
        const key = freshKey();
        const versions = [4, 1, 8, 3, 7, 2, 6, 5];

        // A version that cannot be compared in a few rounds may be given up, and is then repeated by its caller.
        const write = async (client: Storage, version: number) => {
          const record = testRecord({ version });
          await untilDone(() => client.putIfNewer(key, record, minuteMs));
        };
        await Promise.all(versions.map((version, index) => write(index % 2 ? storage : other, version)));

        expect(must(await storage.load(key), "found").revision.version).toBe(versionDigits(8));
      });
    });

    describe("a tombstone", () => {
      const destroyed = async () => {
        const { key, revision } = await stored({ version: 1 });
        expect(await other.putIfNewer(key, testRecord({ version: "tombstone" }), minuteMs)).toBe(true);
        return { key, revision };
      };
      const isTombstoneAt = async (key: string) =>
        must(await storage.load(key), "found").revision.version === versionDigits("tombstone");

      it("beats the save of whoever loaded before", async () => {
        const { key, revision } = await destroyed();

        const saved = await storage.save(key, testRecord({ version: 2 }), minuteMs, { expect: revision });

        expect(saved).toEqual({ kind: "conflict" });
        expect(await isTombstoneAt(key)).toBe(true);
      });

      it("beats a first record", async () => {
        const { key } = await destroyed();

        const saved = await storage.save(key, testRecord({ version: 1 }), minuteMs, { expect: "absent" });

        expect(saved).toEqual({ kind: "conflict" });
        expect(await isTombstoneAt(key)).toBe(true);
      });

      it("beats every copy", async () => {
        const { key } = await destroyed();

        expect(await storage.putIfNewer(key, testRecord({ version: 1_000_000 }), minuteMs)).toBe(false);
        expect(await storage.putIfNewer(key, testRecord({ version: "tombstone" }), minuteMs)).toBe(false);
        expect(await isTombstoneAt(key)).toBe(true);
      });

      it("is not replaced even by who loaded it", async () => {
        const { key } = await destroyed();
        const { revision } = must(await storage.load(key), "found");

        const saved = await storage.save(key, testRecord({ version: 2 }), minuteMs, { expect: revision });

        expect(saved).toEqual({ kind: "conflict" });
      });

      timed("lives at least as long as it was told to, though it is loaded meanwhile", async () => {
        const key = freshKey();
        await storage.putIfNewer(
          key,
          testRecord({ version: "tombstone", idleTimeoutMs: minuteMs }),
          minuteMs,
        );
        const { key: control } = await stored({}, 2000);

        await storage.load(key, { renewTtlMs: 1000 });

        await waitUntil("the record beside it is gone", () => isAbsent(control));
        expect(await isTombstoneAt(key)).toBe(true);
      });
    });

    describe("leases", () => {
      const lease = (ttlMs = 5000) => ({ token: freshToken(), ttlMs });

      it("are taken with the record, and keep others from it", async () => {
        const { key, record } = await stored();
        const mine = lease();

        const loaded = must(await storage.load(key, { lease: mine }), "found");
        const locked = must(await other.load(key, { lease: lease() }), "locked");

        expect(Buffer.from(loaded.record)).toEqual(record);
        expect(locked.retryAfterMs).toBeGreaterThan(0);
        expect(locked.retryAfterMs).toBeLessThanOrEqual(mine.ttlMs);
      });

      it("keep nobody from loading who wants none", async () => {
        const { key } = await stored();
        await storage.load(key, { lease: lease() });

        expect((await other.load(key)).kind).toBe("found");
      });

      it("are had again by their own token, whose reply was lost", async () => {
        const { key } = await stored();
        const mine = lease();
        await storage.load(key, { lease: mine });

        expect((await storage.load(key, { lease: mine })).kind).toBe("found");
        expect((await other.load(key, { lease: mine })).kind).toBe("found");
        expect((await other.load(key, { lease: lease() })).kind).toBe("locked");
      });

      it("are not taken where there is no record", async () => {
        const key = freshKey();
        const mine = lease();

        expect(await storage.load(key, { lease: mine })).toEqual({ kind: "absent" });

        expect(await storage.unlock(key, mine.token)).toBe(false);
      });

      it("are not taken on a tombstone", async () => {
        const { key } = await stored({ version: "tombstone" });
        const mine = lease();

        expect((await storage.load(key, { lease: mine })).kind).toBe("found");

        expect(await storage.unlock(key, mine.token)).toBe(false);
      });

      it("are freed by their token, and had by the next one", async () => {
        const { key } = await stored();
        const mine = lease();
        await storage.load(key, { lease: mine });

        expect(await other.unlock(key, mine.token)).toBe(true);

        expect((await other.load(key, { lease: lease() })).kind).toBe("found");
        expect(await storage.unlock(key, mine.token)).toBe(false);
      });

      it("are not freed by another token", async () => {
        const { key } = await stored();
        await storage.load(key, { lease: lease() });

        expect(await other.unlock(key, freshToken())).toBe(false);

        expect((await other.load(key, { lease: lease() })).kind).toBe("locked");
      });

      it("are given back with a save", async () => {
        const { key } = await stored({ version: 1 });
        const mine = lease();
        const { revision } = must(await storage.load(key, { lease: mine }), "found");

        await storage.save(key, testRecord({ version: 2 }), minuteMs, {
          expect: revision,
          unlock: mine.token,
        });

        expect((await other.load(key, { lease: lease() })).kind).toBe("found");
      });

      it("are given back with a save after they were renewed", async () => {
        const { key } = await stored({ version: 1 });
        const mine = lease();
        const { revision } = must(await storage.load(key, { lease: mine }), "found");
        await storage.renewLease(key, mine);

        await storage.save(key, testRecord({ version: 2 }), minuteMs, {
          expect: revision,
          unlock: mine.token,
        });

        expect(await storage.unlock(key, mine.token)).toBe(false);
        expect((await other.load(key, { lease: lease() })).kind).toBe("found");
      });

      it("are given back with a save that is repeated, as its reply was lost", async () => {
        const { key, revision } = await stored({ version: 1 });
        const record = testRecord({ version: 2 });
        await storage.save(key, record, minuteMs, { expect: revision });
        const mine = lease();
        await storage.load(key, { lease: mine });

        await storage.save(key, record, minuteMs, { expect: revision, unlock: mine.token });

        expect(await storage.unlock(key, mine.token)).toBe(false);
      });

      it("stay where the save was refused", async () => {
        const { key } = await stored({ version: 1 });
        const mine = lease();
        await storage.load(key, { lease: mine });

        const saved = await storage.save(key, testRecord({ version: 9 }), minuteMs, {
          expect: { version: versionDigits(8) },
          unlock: mine.token,
        });

        expect(saved).toEqual({ kind: "conflict" });
        expect(await storage.unlock(key, mine.token)).toBe(true);
      });

      it("of another stay, though a save names a token", async () => {
        const { key, revision } = await stored({ version: 1 });
        const theirs = lease();
        await other.load(key, { lease: theirs });

        await storage.save(key, testRecord({ version: 2 }), minuteMs, {
          expect: revision,
          unlock: freshToken(),
        });

        expect(await other.unlock(key, theirs.token)).toBe(true);
      });

      it("are renewed by their token only", async () => {
        const { key } = await stored();
        const mine = lease();
        await storage.load(key, { lease: mine });

        expect(await storage.renewLease(key, mine)).toBe(true);
        expect(await other.renewLease(key, lease())).toBe(false);
        expect(await storage.renewLease(freshKey(), mine)).toBe(false);
      });

      timed("end by themselves", async () => {
        const { key } = await stored();
        const first = lease(1000);
        await storage.load(key, { lease: first });

        await waitUntil(
          "the lease is free",
          async () => (await other.load(key, { lease: lease() })).kind === "found",
        );

        expect(await storage.renewLease(key, first)).toBe(false);
        expect(await storage.unlock(key, first.token)).toBe(false);
      });

      timed("live on when they are renewed", async () => {
        const { key } = await stored();
        const { key: control } = await stored();
        const mine = lease(1000);
        await storage.load(key, { lease: mine });
        await storage.load(control, { lease: lease(1000) });

        expect(await storage.renewLease(key, { token: mine.token, ttlMs: minuteMs })).toBe(true);

        await waitUntil("the lease that was not renewed is free", async () => {
          return (await other.load(control, { lease: lease() })).kind === "found";
        });
        expect((await other.load(key, { lease: lease() })).kind).toBe("locked");
      });

      it("tell their holder that another was refused them", async () => {
        const { key } = await stored();
        const mine = lease();
        await storage.load(key, { lease: mine });

        await other.load(key, { lease: lease() });

        expect(must(await storage.load(key, { lease: mine }), "found").isWanted).toBe(true);
      });

      it("are wanted by nobody where nobody was refused", async () => {
        const { key } = await stored();
        const mine = lease();

        const first = must(await storage.load(key, { lease: mine }), "found");
        await other.load(key);
        const again = must(await storage.load(key, { lease: mine }), "found");

        expect(first).not.toHaveProperty("isWanted");
        expect(again).not.toHaveProperty("isWanted");
      });

      it("are wanted still after they were renewed, and after they were had again", async () => {
        const { key } = await stored();
        const mine = lease();
        await storage.load(key, { lease: mine });
        await other.load(key, { lease: lease() });

        expect(await storage.renewLease(key, mine)).toBe(true);

        expect(must(await storage.load(key, { lease: mine }), "found").isWanted).toBe(true);
        expect(must(await other.load(key, { lease: mine }), "found").isWanted).toBe(true);
      });

      it("are wanted no more once another has them", async () => {
        const { key } = await stored();
        const [mine, theirs] = [lease(), lease()];
        await storage.load(key, { lease: mine });
        await other.load(key, { lease: theirs });
        await storage.unlock(key, mine.token);

        const had = must(await other.load(key, { lease: theirs }), "found");
        const again = must(await other.load(key, { lease: theirs }), "found");

        expect(had).not.toHaveProperty("isWanted");
        expect(again).not.toHaveProperty("isWanted");
      });

      it("keep others from the record, and are freed by their token only, wanted as well", async () => {
        const { key } = await stored();
        const mine = lease();
        await storage.load(key, { lease: mine });
        await other.load(key, { lease: lease() });

        const locked = must(await other.load(key, { lease: lease() }), "locked");
        expect(locked.retryAfterMs).toBeGreaterThan(0);
        expect(locked.retryAfterMs).toBeLessThanOrEqual(mine.ttlMs);
        expect(await other.renewLease(key, lease())).toBe(false);
        expect(await other.unlock(key, freshToken())).toBe(false);
        expect(await other.unlock(key, mine.token)).toBe(true);
        expect((await other.load(key, { lease: lease() })).kind).toBe("found");
      });

      it("are given back with a save, wanted as well", async () => {
        const { key } = await stored({ version: 1 });
        const mine = lease();
        const { revision } = must(await storage.load(key, { lease: mine }), "found");
        await other.load(key, { lease: lease() });

        await storage.save(key, testRecord({ version: 2 }), minuteMs, {
          expect: revision,
          unlock: mine.token,
        });

        expect((await other.load(key, { lease: lease() })).kind).toBe("found");
      });

      it("are given back with the last of several saves", async () => {
        const { key } = await stored({ version: 1 });
        const mine = lease();
        const loaded = must(await storage.load(key, { lease: mine }), "found");
        const first = await storage.save(key, testRecord({ version: 2 }), minuteMs, {
          expect: loaded.revision,
        });
        expect((await other.load(key, { lease: lease() })).kind).toBe("locked");

        await storage.save(key, testRecord({ version: 3 }), minuteMs, {
          expect: must(first, "stored").revision,
          unlock: mine.token,
        });

        expect(await storage.unlock(key, mine.token)).toBe(false);
        expect((await other.load(key, { lease: lease() })).kind).toBe("found");
      });

      it("stay where the save of the record that was loaded with them was refused", async () => {
        const { key } = await stored({ version: 1 });
        const mine = lease();
        const { revision } = must(await storage.load(key, { lease: mine }), "found");
        await other.putIfNewer(key, testRecord({ version: 2 }), minuteMs);

        const saved = await storage.save(key, testRecord({ version: 2 }), minuteMs, {
          expect: revision,
          unlock: mine.token,
        });

        expect(saved).toEqual({ kind: "conflict" });
        expect((await other.load(key, { lease: lease() })).kind).toBe("locked");
        expect(await storage.unlock(key, mine.token)).toBe(true);
      });

      it("stay where a save with the revision that they came with names another token", async () => {
        const { key } = await stored({ version: 1 });
        const mine = lease();
        const { revision } = must(await storage.load(key, { lease: mine }), "found");

        await storage.save(key, testRecord({ version: 2 }), minuteMs, {
          expect: revision,
          unlock: freshToken(),
        });

        expect(await storage.unlock(key, mine.token)).toBe(true);
      });

      it("that became another's stay, though a save would give back the one that the record was loaded with", async () => {
        const { key } = await stored({ version: 1 });
        const [mine, theirs] = [lease(), lease()];
        const { revision } = must(await storage.load(key, { lease: mine }), "found");
        await other.unlock(key, mine.token);
        must(await other.load(key, { lease: theirs }), "found");

        const saved = await storage.save(key, testRecord({ version: 2 }), minuteMs, {
          expect: revision,
          unlock: mine.token,
        });

        expect(saved.kind).toBe("stored");
        expect(await other.unlock(key, theirs.token)).toBe(true);
      });

      timed("end by themselves, wanted as well", async () => {
        const { key } = await stored();
        const first = lease(1000);
        await storage.load(key, { lease: first });

        await waitUntil(
          "the lease that others are refused is free",
          async () => (await other.load(key, { lease: lease() })).kind === "found",
        );

        expect(await storage.unlock(key, first.token)).toBe(false);
      });

      timed("live on when they are had again or renewed, wanted as well", async () => {
        const [again, renewed, control] = [await stored(), await stored(), await stored()];
        const mine = lease(1000);
        for (const { key } of [again, renewed, control]) {
          await storage.load(key, { lease: mine });
          await other.load(key, { lease: lease() });
        }
        const longer = { token: mine.token, ttlMs: minuteMs };
        await storage.load(again.key, { lease: longer });
        await storage.renewLease(renewed.key, longer);

        await waitUntil(
          "the lease that was left alone is free",
          async () => (await other.load(control.key, { lease: lease() })).kind === "found",
        );

        for (const { key } of [again, renewed]) {
          expect((await other.load(key, { lease: lease() })).kind).toBe("locked");
        }
      });

      it("go to exactly one of many who want them", async () => {
        const { key } = await stored();

        const results = await Promise.all(
          Array.from({ length: 20 }, (_, index) =>
            (index % 2 ? storage : other).load(key, { lease: lease() }),
          ),
        );

        expect(results.filter((result) => result.kind === "found")).toHaveLength(1);
        expect(results.filter((result) => result.kind === "locked")).toHaveLength(19);
      });
    });

    describe("onRelease", () => {
      it("is there where the storage is said to have it", () => {
        expect(storage.onRelease !== undefined).toBe(onRelease);
      });

      if (!onRelease) return;

      const listen = (key: string, listener: () => void) => other.onRelease!(key, listener);

      /** Lets somebody be refused the lease, and gives what the holder needs in order to give it back. */
      const contended = async (key: string) => {
        const lease = { token: freshToken(), ttlMs: minuteMs };
        const { revision } = must(await storage.load(key, { lease }), "found");
        must(await other.load(key, { lease: { token: freshToken(), ttlMs: minuteMs } }), "locked");
        return { token: lease.token, revision };
      };

      /** A release may be missed, as when nobody listens yet; one of many must be heard of. */
      const untilHeard = (isHeard: () => boolean, release: () => Promise<unknown>) =>
        waitUntil("a release was heard of", async () => {
          await release();
          return isHeard();
        });

      it("calls who listens when the lease was given back by unlock", async () => {
        const { key } = await stored();
        let isHeard = false;
        const end = listen(key, () => {
          isHeard = true;
        });

        await untilHeard(
          () => isHeard,
          async () => storage.unlock(key, (await contended(key)).token),
        );

        end();
      });

      it("calls who listens when the lease was given back by a save", async () => {
        const { key } = await stored({ version: 1 });
        let version = 1;
        let isHeard = false;
        const end = listen(key, () => {
          isHeard = true;
        });

        await untilHeard(
          () => isHeard,
          async () => {
            const { token, revision } = await contended(key);
            version += 1;
            const next = testRecord({ version });
            const saved = await storage.save(key, next, minuteMs, { expect: revision, unlock: token });
            must(saved, "stored");
          },
        );

        end();
      });

      it("calls everybody who listens, and nobody who ended it, whatever the others throw", async () => {
        const { key } = await stored();
        const heard: string[] = [];
        const ends = ["ended", "first", "second"].map((name) =>
          listen(key, () => {
            heard.push(name);
            if (name === "first") throw new Error("a listener's own trouble");
          }),
        );
        ends[0]!();
        ends[0]!();

        await untilHeard(
          () => heard.includes("second"),
          async () => storage.unlock(key, (await contended(key)).token),
        );

        expect(heard).toContain("first");
        expect(heard).not.toContain("ended");
        for (const end of ends) end();
      });

      it("does not throw on a key that no storage takes", () => {
        listen("with blank", () => {})();
      });
    });

    describe("many at once", () => {
      it("gives each its own record", async () => {
        const keys = Array.from({ length: parallel }, freshKey);
        await Promise.all(
          keys.map((key) => storage.save(key, testRecord({ payload: key }), minuteMs, { expect: "absent" })),
        );

        const loaded = await Promise.all(keys.map((key) => storage.load(key)));

        const found = loaded.map((result) => payloadOf(must(result, "found").record).toString());
        expect(found).toEqual(keys);
      });
    });

    describe("keys", () => {
      it("that no storage takes are refused, and harm no other operation", async () => {
        const { key } = await stored();
        const spoilt = ["", "with blank", "with\r\nline", "ü", "x".repeat(251)];

        const refusals = Promise.allSettled(spoilt.map((bad) => storage.load(bad)));
        const beside = Promise.all(Array.from({ length: 10 }, () => storage.load(key)));

        expect((await beside).every((result) => result.kind === "found")).toBe(true);
        for (const refusal of await refusals) {
          expect(refusal.status === "rejected" && codeOf(refusal.reason)).toBe("MSM_ERR_STORAGE_REFUSED");
        }
      });
    });

    describe("ping", () => {
      it("resolves where the node answers, to the same while the node runs", async () => {
        const run = await storage.ping();
        expect((await storage.ping()) === run).toBe(true);
      });
    });

    describe("close", () => {
      it("settles what is outstanding, refuses what comes later, and may be called twice", async () => {
        const own = await create();
        const outstanding = Promise.allSettled([own.storage.load(freshKey()), own.storage.ping()]);
        own.storage.onRelease?.(freshKey(), () => {});

        await own.storage.close();
        await own.storage.close();

        await outstanding;
        const later = [own.storage.load(freshKey()), own.storage.ping(), own.storage.touch(freshKey(), 1000)];
        for (const result of await Promise.allSettled(later)) {
          expect(result.status === "rejected" && codeOf(result.reason)).toBe("MSM_ERR_CLOSED");
        }
        own.storage.onRelease?.(freshKey(), () => {})();
        await own.close();
      });
    });
  });
}

/** Gives the result where it is of the kind that the test needs in order to go on. */
function must<R extends LoadResult | SaveResult, K extends R["kind"]>(
  result: R,
  kind: K,
): Extract<R, { kind: K }> {
  if (result.kind !== kind) throw new Error(`expected ${kind}, got ${result.kind}`);
  return result as Extract<R, { kind: K }>;
}

const codeOf = (thrown: unknown) => (thrown instanceof MsmError ? thrown.code : thrown);

async function untilDone(run: () => Promise<unknown>): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    try {
      await run();
      return;
    } catch (thrown) {
      if (codeOf(thrown) !== "MSM_ERR_STORAGE_UNAVAILABLE") throw thrown;
    }
  }
}
