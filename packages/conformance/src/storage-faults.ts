import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { MsmError, type Storage } from "@msm/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Ending, type FaultProxy, startFaultProxy } from "./fault-proxy.js";
import { freshKey, freshToken, payloadOf, testRecord, versionDigits } from "./records.js";
import type { TestServer } from "./servers.js";
import { storageContract } from "./storage-contract.js";
import { pause, waitUntil } from "./wait-until.js";

/** Where a storage finds its server, and how long it may wait for it. */
export interface StorageAddress {
  readonly host: string;
  readonly port: number;
  readonly operationTimeoutMs: number;
}

export interface StorageFaultsOptions {
  /** Skips the suite; the reason belongs into its name. Default false. */
  readonly skip?: boolean;
  readonly startServer: () => Promise<TestServer>;
  readonly createStorage: (address: StorageAddress) => Storage;
  /** Whether the storage has `onRelease`. Default false. */
  readonly onRelease?: boolean;
}

/** What came of a storage's exchanges while things went wrong. */
export interface FaultTally {
  /** How many were tried. */
  exchanges: number;
  /** Gave what they should. */
  right: number;
  /** Rejected with an error of a storage. */
  rejected: number;
  /** Gave another record, or said "absent" of one that is there. */
  wrong: number;
  /** Did not settle within 5 s. */
  unsettled: number;
  /** Rejected with an error of somebody else. */
  foreign: unknown[];
}

/** No operation may take longer, however slow the machine is. */
const settleWithinMs = 5000;

const operationTimeoutMs = 150;
const minuteMs = 60_000;

/**
 * What a storage must withstand, on a real server behind a fault proxy: replies that end in the middle, partitions, a
 * server that hangs, dies or is none. Wanted: no wrong value, no promise that stays open, and work goes on
 * within a second after the fault is over.
 */
export function storageFaults(name: string, options: StorageFaultsOptions): void {
  const { skip = false, startServer, createStorage, onRelease = false } = options;

  const slow = async (harm: (proxy: FaultProxy) => void) => {
    const server = await startServer();
    const proxy = await startFaultProxy(server.port);
    harm(proxy);
    const client = () =>
      createStorage({ host: proxy.host, port: proxy.port, operationTimeoutMs: settleWithinMs });
    const [storage, other] = [client(), client()];
    return {
      storage,
      other,
      async close() {
        await Promise.all([storage.close(), other.close()]);
        await proxy.close();
        await server.close();
      },
    };
  };
  const behindProxy = { skip, largeRecordBytes: 4000, parallel: 50, timesToLive: false, onRelease };
  storageContract(`${name}, one byte at a time`, () => slow((proxy) => proxy.chunk(1)), behindProxy);
  storageContract(`${name}, 3 ms away`, () => slow((proxy) => proxy.delay(3)), behindProxy);

  describe.skipIf(skip)(`storage under faults: ${name}`, () => {
    let server: TestServer;
    let proxy: FaultProxy;
    /** Not behind the proxy. */
    let direct: Storage;
    let storage: Storage;
    let exchanges: Exchanges;
    const totals = newTally();
    const recoveriesMs: Record<string, number[]> = {};

    beforeAll(async () => {
      server = await startServer();
      proxy = await startFaultProxy(server.port);
      direct = createStorage({ host: server.host, port: server.port, operationTimeoutMs: settleWithinMs });
      storage = createStorage({ host: proxy.host, port: proxy.port, operationTimeoutMs });
      exchanges = new Exchanges(storage, direct);
      await exchanges.seed();
    });

    afterAll(async () => {
      await Promise.all([storage?.close(), direct?.close()]);
      await proxy?.close();
      await server?.close();
      console.info(summary(name, totals, recoveriesMs));
    });

    /** Lets a fault happen to bursts of exchanges, and looks how they end, and how soon the storage works again. */
    const withstand = async (fault: string, bursts: number, harm: Harm) => {
      const tally = newTally();
      const recoveries: number[] = [];
      for (let round = 0; round < bursts; round += 1) {
        await harm.begin(round);
        const burst = exchanges.burst(tally);
        await harm.during?.(round);
        await burst;
        await harm.end(round);
        recoveries.push(await exchanges.recover());
      }
      recoveriesMs[fault] = recoveries;
      add(totals, tally);
      expect(tally).toMatchObject({ exchanges: bursts * burstSize, wrong: 0, unsettled: 0, foreign: [] });
      // The median: a machine under load may be late once, a storage with a long back-off always is.
      expect(median(recoveries)).toBeLessThan(1000);
    };

    const nothing = async () => {};
    const endings: readonly Ending[] = ["rst", "fin"];
    const endingOf = (round: number) => endings[round % endings.length]!;

    it("gives no wrong value where replies are cut anywhere, in 200 exchanges", async () => {
      await withstand("cut", 40, {
        begin: async (round) => proxy.cutAfter(1 + Math.floor(Math.random() * 30_000), endingOf(round)),
        end: async () => proxy.pass(),
      });
    });

    it("gives no wrong value where replies are cut in their first bytes, in 100 exchanges", async () => {
      await withstand("cut early", 20, {
        begin: async (round) => proxy.cutAfter(1 + round, endingOf(round)),
        end: async () => proxy.pass(),
      });
    });

    it("gives no wrong value where connections end, in 75 exchanges", async () => {
      await withstand("end", 15, {
        begin: nothing,
        during: async (round) => {
          await pause(1);
          proxy.endAll(endingOf(round));
        },
        end: nothing,
      });
    });

    it("gives no wrong value through partitions, one-way as well, whose bytes arrive later, in 75 exchanges", async () => {
      await withstand("partition", 15, {
        begin: async (round) => proxy.hold(...([["requests"], ["replies"], []] as const)[round % 3]!),
        end: async () => proxy.pass(),
      });
    });

    it("gives no wrong value where replies come one byte at a time and are cut, in 50 exchanges", async () => {
      await withstand("trickle", 10, {
        begin: async (round) => {
          proxy.chunk(1);
          proxy.cutAfter(100 * (round + 1), endingOf(round));
        },
        end: async () => proxy.pass(),
      });
    });

    it("gives no wrong value where the server hangs and goes on, in 50 exchanges", async () => {
      await withstand("hang", 10, {
        begin: nothing,
        during: () => server.freeze(),
        end: async () => server.thaw(),
      });
    });

    it("gives no wrong value where the server is killed and comes back empty, in 50 exchanges", async () => {
      await withstand("kill", 10, {
        begin: nothing,
        during: () => server.kill(),
        end: async () => {
          await server.restart();
          await exchanges.seed();
        },
      });
    });

    it("gives no wrong value where connections are refused, in 25 exchanges", async () => {
      await withstand("refuse", 5, {
        begin: async () => {
          proxy.refuse();
          proxy.endAll("rst");
        },
        end: async () => proxy.pass(),
      });
    });

    it("says that a server cannot be reached before its deadline is over", async () => {
      const nobody = createStorage({
        host: "127.0.0.1",
        port: await portOfNobody(),
        operationTimeoutMs: 60_000,
      });

      for (const run of [
        () => nobody.load(freshKey()),
        () => nobody.ping(),
        () => nobody.unlock(freshKey(), "t"),
      ]) {
        await expect(run()).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
      }

      await nobody.close();
    });

    it("rejects at its deadline where the server hangs, every verb and ping", async () => {
      const key = freshKey();
      await server.freeze();

      const verbs = [
        storage.load(key, { lease: { token: freshToken(), ttlMs: 3000 }, renewTtlMs: minuteMs }),
        storage.save(key, testRecord(), minuteMs, { expect: "absent" }),
        storage.putIfNewer(key, testRecord(), minuteMs),
        storage.touch(key, minuteMs),
        storage.renewLease(key, { token: freshToken(), ttlMs: 3000 }),
        storage.unlock(key, freshToken()),
        storage.ping(),
      ];
      const codes = (await Promise.allSettled(verbs)).map((r) =>
        r.status === "rejected" ? codeOf(r.reason) : r.status,
      );

      server.thaw();
      expect(codes).toEqual(verbs.map(() => "MSM_ERR_STORAGE_TIMEOUT"));
      await exchanges.recover();
    });

    it("does not blame the server for a pause of its own process", async () => {
      const own = createStorage({ host: server.host, port: server.port, operationTimeoutMs });
      await own.load(exchanges.anyKey());
      const loading = own.load(exchanges.anyKey());
      await Promise.resolve();

      const untilMs = performance.now() + 2 * operationTimeoutMs;
      while (performance.now() < untilMs);

      await expect(loading).resolves.toMatchObject({ kind: "found" });
      await own.close();
    });

    it("lets go of a server that hangs: no socket stays behind, not even half closed", async () => {
      const own = createStorage({ host: server.host, port: server.port, operationTimeoutMs: 50 });
      const before = openSockets();
      await server.freeze();

      for (let round = 0; round < 6; round += 1) await own.load(freshKey()).catch(() => undefined);
      const held = openSockets() - before;

      server.thaw();
      await own.close();
      await exchanges.recover();
      expect(held).toBeLessThanOrEqual(2);
    });

    it("uses one connection, and another one for ping, however much it is asked", async () => {
      const before = proxy.accepted;
      const own = createStorage({ host: proxy.host, port: proxy.port, operationTimeoutMs: settleWithinMs });

      await Promise.all(Array.from({ length: 100 }, () => own.load(freshKey())));
      expect(proxy.accepted - before).toBe(1);
      await Promise.all([own.ping(), own.ping(), own.load(freshKey())]);
      expect(proxy.accepted - before).toBe(2);

      await own.close();
    });

    it("leaves no connection open when it is closed, and rejects what is outstanding", async () => {
      await waitUntil("earlier connections are gone", () => proxy.open <= 2);
      const before = proxy.open;
      const own = createStorage({ host: proxy.host, port: proxy.port, operationTimeoutMs: settleWithinMs });
      own.onRelease?.(freshKey(), () => {});
      await Promise.all([own.load(freshKey()), own.ping()]);
      proxy.hold();
      const outstanding = [
        own.load(freshKey()),
        own.save(freshKey(), testRecord(), minuteMs, { expect: "absent" }),
      ];
      const settled = Promise.allSettled([...outstanding, own.ping()]);
      await pause(1);

      await own.close();

      for (const result of await settled) {
        expect(result.status === "rejected" && codeOf(result.reason)).toBe("MSM_ERR_CLOSED");
      }
      proxy.pass();
      await waitUntil("its connections are gone", () => proxy.open <= before);
    });

    describe("a write that is carried out after it was given up", () => {
      /** Lets a write be given up while its bytes are on their way; gives what lets them arrive. */
      const giveUp = async (write: () => Promise<unknown>) => {
        await storage.load(freshKey());
        proxy.hold("requests");
        await expect(write()).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_TIMEOUT" });
        return async () => {
          proxy.pass();
          await waitUntil("the server has read them to their end", () => proxy.open === 0);
        };
      };
      const stored = async () => {
        const key = freshKey();
        await direct.save(key, testRecord({ version: 1 }), minuteMs, { expect: "absent" });
        const loaded = await storage.load(key);
        if (loaded.kind !== "found") throw new Error("the record was just stored");
        return { key, revision: loaded.revision };
      };
      const writeAt = async (key: string) => {
        const loaded = await direct.load(key);
        return loaded.kind === "found" ? Buffer.from(loaded.record) : loaded.kind;
      };

      it("is known as the caller's own when it is repeated, before or after", async () => {
        const { key, revision } = await stored();
        const record = testRecord({ version: 2 });
        const arrive = await giveUp(() => storage.save(key, record, minuteMs, { expect: revision }));

        expect((await direct.save(key, record, minuteMs, { expect: revision })).kind).toBe("stored");
        await arrive();

        expect((await storage.save(key, record, minuteMs, { expect: revision })).kind).toBe("stored");
        expect(await writeAt(key)).toEqual(Buffer.from(record));
      });

      it("does not overwrite another version that was stored meanwhile", async () => {
        const { key, revision } = await stored();
        const late = testRecord({ version: 2 });
        const arrive = await giveUp(() => storage.save(key, late, minuteMs, { expect: revision }));
        const theirs = testRecord({ version: 2 });
        expect((await direct.save(key, theirs, minuteMs, { expect: revision })).kind).toBe("stored");

        await arrive();

        expect(await writeAt(key)).toEqual(Buffer.from(theirs));
      });

      it("makes the next save at its version a conflict where it came first", async () => {
        const { key, revision } = await stored();
        const late = testRecord({ version: 2 });
        const arrive = await giveUp(() => storage.save(key, late, minuteMs, { expect: revision }));
        await arrive();
        await waitUntil(
          "it is carried out",
          async () => late.toString("latin1") === (await writeAt(key)).toString("latin1"),
        );

        expect(await direct.save(key, testRecord({ version: 2 }), minuteMs, { expect: revision })).toEqual({
          kind: "conflict",
        });
      });

      it.each(["save", "create", "copy"] as const)(
        "does not bring a destroyed session back (%s)",
        async (kind) => {
          const { key, revision } =
            kind === "save" ? await stored() : { key: freshKey(), revision: undefined };
          const late = testRecord({ version: 2 });
          const arrive = await giveUp(() =>
            kind === "copy"
              ? storage.putIfNewer(key, late, minuteMs)
              : storage.save(key, late, minuteMs, { expect: revision ?? "absent" }),
          );
          const tombstone = testRecord({ version: "tombstone" });
          expect(await direct.putIfNewer(key, tombstone, minuteMs)).toBe(true);

          await arrive();

          expect(await writeAt(key)).toEqual(Buffer.from(tombstone));
        },
      );

      it("loses against what the server that hung is told next, or wins and is found", async () => {
        const { key, revision } = await stored();
        const late = testRecord({ version: 2 });
        await server.freeze();
        await expect(storage.save(key, late, minuteMs, { expect: revision })).rejects.toMatchObject({
          code: "MSM_ERR_STORAGE_TIMEOUT",
        });
        server.thaw();
        await exchanges.recover();

        const next = testRecord({ version: 2 });
        const saved = await direct.save(key, next, minuteMs, { expect: revision });

        expect(await writeAt(key)).toEqual(Buffer.from(saved.kind === "stored" ? next : late));
      });
    });

    describe("what is no server of its kind", () => {
      it.each<[string, Answer, string]>([
        [
          "speaks HTTP",
          (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"),
          "MSM_ERR_STORAGE_PROTOCOL",
        ],
        ["says what it is told", (socket, question) => socket.write(question), "MSM_ERR_STORAGE_PROTOCOL"],
        [
          "sends noise",
          (socket) => socket.write(randomBytes(1000).fill(0xee, 0, 24)),
          "MSM_ERR_STORAGE_PROTOCOL",
        ],
        ["hangs up", (socket) => socket.end(), "MSM_ERR_STORAGE_UNAVAILABLE"],
        ["is silent", () => {}, "MSM_ERR_STORAGE_TIMEOUT"],
      ])("rejects where it %s", async (_what, answer, code) => {
        const impostor = await startImpostor(answer);
        const own = createStorage({ host: "127.0.0.1", port: impostor.port, operationTimeoutMs });

        for (let round = 0; round < 3; round += 1) {
          await expect(own.load(freshKey())).rejects.toMatchObject({ code });
          await expect(own.ping()).rejects.toMatchObject({ code });
        }

        await own.close();
        await impostor.close();
      });
    });
  });
}

/** A fault around one burst of exchanges. */
interface Harm {
  begin(round: number): Promise<void>;
  /** While the exchanges are under way. */
  during?(round: number): Promise<void>;
  end(round: number): Promise<void>;
}

const burstSize = 5;

/** Exchanges of which it is known what they must give: every record is made of its key. */
export class Exchanges {
  readonly #storage: Storage;
  readonly #direct: Storage;
  readonly #records = new Map<string, Uint8Array>();
  #next = 0;

  /** @param direct another client of the same server, that no fault touches */
  constructor(storage: Storage, direct: Storage) {
    this.#storage = storage;
    this.#direct = direct;
    for (const bytes of [50, 500, 2000, 8000, 40_000, 200_000]) {
      for (let count = 0; count < 3; count += 1) {
        const key = freshKey();
        this.#records.set(key, testRecord({ payload: `${key}\r\n`.repeat(Math.ceil(bytes / key.length)) }));
      }
    }
  }

  /** Puts the records where they belong, also after the server came back empty. */
  async seed(): Promise<void> {
    for (const [key, record] of this.#records) await this.#direct.putIfNewer(key, record, 10 * minuteMs);
  }

  anyKey(): string {
    return [...this.#records.keys()][0]!;
  }

  /** Some exchanges at once: mostly loads, also with a lease, and a first save. */
  async burst(tally: FaultTally): Promise<void> {
    const loads = Array.from({ length: burstSize - 1 }, (_, index) => this.#load(index === 0));
    await Promise.all([...loads, this.#save()].map((exchange) => count(tally, exchange)));
  }

  /** Milliseconds until the storage gives a right answer; infinite where it does not within 5 s. */
  async recover(): Promise<number> {
    const startedMs = performance.now();
    while (performance.now() - startedMs < settleWithinMs) {
      const outcome = await outcomeOf(this.#load(false));
      if (outcome === "right") return performance.now() - startedMs;
      await pause(2);
    }
    return Number.POSITIVE_INFINITY;
  }

  async #load(withLease: boolean): Promise<boolean> {
    this.#next += 1;
    const [key, record] = [...this.#records][this.#next % this.#records.size]!;
    const lease = { token: freshToken(), ttlMs: 3000 };
    const result = await this.#storage.load(key, withLease ? { lease, renewTtlMs: 10 * minuteMs } : {});
    if (result.kind === "locked") return withLease;
    return result.kind === "found" && payloadOf(result.record).equals(payloadOf(record));
  }

  async #save(): Promise<boolean> {
    const key = freshKey();
    const record = testRecord({ version: 3, payload: `${key}\r\n`.repeat(20) });
    const result = await this.#storage.save(key, record, minuteMs, { expect: "absent" });
    return result.kind === "stored" && result.revision.version === versionDigits(3);
  }
}

/** How an exchange may end; `foreign` where it rejects with what is no error of a storage. */
export type Outcome = "right" | "wrong" | "rejected" | "unsettled" | { readonly foreign: unknown };

/** How an exchange ended; `wrong` where it gave false, `unsettled` where it took longer than `withinMs`, default 5000. */
export async function outcomeOf(exchange: Promise<boolean>, withinMs = settleWithinMs): Promise<Outcome> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<Outcome>((resolve) => {
    timer = setTimeout(() => resolve("unsettled"), withinMs);
  });
  const ended = exchange.then<Outcome, Outcome>(
    (isRight) => (isRight ? "right" : "wrong"),
    (thrown) => (codeOf(thrown).startsWith("MSM_ERR_STORAGE_") ? "rejected" : { foreign: thrown }),
  );
  try {
    return await Promise.race([ended, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

async function count(tally: FaultTally, exchange: Promise<boolean>): Promise<void> {
  const outcome = await outcomeOf(exchange);
  tally.exchanges += 1;
  if (typeof outcome === "object") tally.foreign.push(outcome.foreign);
  else tally[outcome] += 1;
}

/** A tally of nothing. */
export function newTally(): FaultTally {
  return { exchanges: 0, right: 0, rejected: 0, wrong: 0, unsettled: 0, foreign: [] };
}

function add(totals: FaultTally, tally: FaultTally): void {
  for (const name of ["exchanges", "right", "rejected", "wrong", "unsettled"] as const)
    totals[name] += tally[name];
  totals.foreign.push(...tally.foreign);
}

function summary(name: string, totals: FaultTally, recoveriesMs: Record<string, number[]>): string {
  const { exchanges, right, rejected, wrong, unsettled } = totals;
  const recovery = Object.entries(recoveriesMs).map(
    ([fault, times]) => `${fault} ${median(times).toFixed(0)}/${Math.max(...times).toFixed(0)}`,
  );
  return [
    `${name}: ${exchanges} exchanges under faults: ${right} right, ${rejected} rejected, ${wrong} wrong, ${unsettled} unsettled;`,
    `ms until it worked again (median/worst): ${recovery.join(", ")}`,
  ].join(" ");
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

const codeOf = (thrown: unknown) => (thrown instanceof MsmError ? thrown.code : String(thrown));

/** Connections of this process, of whichever side. */
const openSockets = () => process.getActiveResourcesInfo().filter((kind) => kind === "TCPSocketWrap").length;

async function portOfNobody(): Promise<number> {
  const impostor = await startImpostor(() => {});
  await impostor.close();
  return impostor.port;
}

/** What an impostor does with the first bytes of a client. */
type Answer = (socket: Socket, question: Buffer) => void;

/** Something that takes connections and is not what the storage expects. */
async function startImpostor(answer: Answer): Promise<{ port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("data", (question: Buffer) => answer(socket, question));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return {
    port: address.port,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
