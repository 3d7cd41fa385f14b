import { randomBytes, randomInt, randomUUID } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { memoryStorage, recordPrefixBytes } from "@msm/core";
import { describe, expect, it } from "vitest";
import { faulty, testClient } from "../../src/index.js";
import {
  keyOf,
  logIn,
  modes,
  nodeKinds,
  nodeOf,
  overwriteRecord,
  partsOf,
  type RealNode,
  ringFrom,
  startNodes,
  startProcess,
  throughProxies,
  visitUntilAnswered,
} from "./real-nodes.js";

// What memcached-session-manager would fail where somebody forges, spoils or confuses what it is given, by the letters in
// docs/original-behaviours.md.

for (const { kind, skip, reason } of nodeKinds) {
  describe.skipIf(skip).each(modes)(`on ${kind}, %s${reason}`, (mode) => {
    it.each([
      ["another's record", (_own: Buffer, anothers: Buffer) => anothers],
      ["one with a bit turned over", (own: Buffer) => turned(own)],
      ["half of one", (own: Buffer) => own.subarray(0, 60 + randomInt(own.length - 60))],
    ] as const)(
      "original i: what is no record of the session is not believed, and its copy is, where there is one: %s",
      async (_what, damage) => {
        const nodes = await startNodes(kind, 2);
        const process = startProcess(nodes, { mode });
        const ann = await logIn(process, "ann");
        const ben = await logIn(process, "ben");
        await ben.client.visit(process, (attributes) => {
          attributes.more = "of ben's";
        });
        const own = nodeOf(nodes, ann.hint);
        const other = startProcess(nodes, { mode, route: "app2" }); // has nothing in memory
        const recordOf = async (id: string, on: RealNode) => {
          const loaded = await on.storage.load(keyOf(id));
          if (loaded.kind !== "found") throw new Error(`no record on ${on.id}`);
          return Buffer.from(loaded.record);
        };
        const anothers = await recordOf(ben.id, nodeOf(nodes, ben.hint));
        const spoil = async (node: RealNode) =>
          overwriteRecord(node, ann.id, damage(await recordOf(ann.id, node), anothers));
        const spoilt: unknown[] = [];
        other.on("spoilt", (detail) => void spoilt.push(detail));

        await spoil(own);
        if (mode === "non-sticky") {
          const { session } = await testClient(ann.cookie).visit(other, (attributes) => {
            attributes.n = 1;
          });
          expect({ ...session?.attributes }).toEqual({ user: "ann", n: 1 });
          const again = await testClient(ann.cookie).visit(other);
          expect({ ...again.session?.attributes }).toEqual({ user: "ann", n: 1 });
          for (const node of nodes) await spoil(node);
        }
        const { session, result } = await testClient(ann.cookie).visit(other);

        expect(spoilt[0]).toMatchObject({ node: own.id, error: { code: "MSM_ERR_RECORD_SPOILT" } });
        expect(session).toMatchObject({ isNew: true });
        expect({ ...session?.attributes }).toEqual({});
        expect(result.outcome).toBe("unneeded");
        expect((await ben.client.visit(process)).session?.attributes.user).toBe("ben");
      },
    );

    it("original i: replies that come when nobody waits for them any more are nobody's", async () => {
      const [node] = await throughProxies(await startNodes(kind, 1));
      const owner = startProcess([node!], { mode });
      const visitors = [await logIn(owner, "ann"), await logIn(owner, "ben")] as const;

      for (let round = 0; round < 3; round++) {
        // Two more processes that have nothing in memory: one is asked in vain, then both at once.
        const hasty = startProcess([node!], { mode, route: `late${round}`, operationTimeoutMs: 100 });
        await visitUntilAnswered(testClient(), hasty);
        node!.proxy.hold("replies");
        const late = testClient(visitors[round % 2]!.cookie).visit(hasty);
        await expect(late).rejects.toMatchObject({ status: 503 });
        const asked = visitors.map(({ cookie }) => visitUntilAnswered(testClient(cookie), hasty));
        node!.proxy.pass();

        for (const [index, { session }] of (await Promise.all(asked)).entries()) {
          expect(session).toMatchObject({ id: visitors[index]!.id, isNew: false });
          expect(session?.attributes.user).toBe(visitors[index]!.user);
        }
      }
    });

    it("original j: a key prefix and a route with hyphens mislead nobody about the node of a session", async () => {
      const nodes = await startNodes(kind, 3);
      const keyPrefix = "my-app-n2-_1";
      const process = startProcess(nodes, { mode, keyPrefix, route: "n3-app_1-x" });
      for (let times = 0; times < 8; times++) {
        const { client, id, hint } = await logIn(process, "ann");
        const loaded = await nodeOf(nodes, hint).storage.load(keyOf(id, keyPrefix));
        expect(loaded.kind).toBe("found");
        expect(partsOf(client.cookie).route).toBe(mode === "sticky" ? "n3-app_1-x" : undefined);
      }
      const { client, id, hint } = await logIn(process, "ann");
      const neighbour = startProcess(nodes, { mode, keyPrefix: "my-app", route: "n3-app_1-x" });
      expect((await testClient(client.cookie).visit(neighbour)).session?.isNew).toBe(true);

      await nodeOf(nodes, hint).server.kill();
      const { session } = await client.visit(process, (attributes) => {
        attributes.n = 1;
      });

      expect(session?.id).toBe(id);
      expect({ ...session?.attributes }).toEqual({ user: "ann", n: 1 });
      expect(partsOf(client.cookie).hint).toBe(ringFrom(nodes, hint)[1]!.id);
    });
  });
}

describe.each(modes)("%s", (mode) => {
  it("original h: 100,000 forged cookies cost neither memory nor a question to a node", async () => {
    const counted = faulty(memoryStorage());
    const process = startProcess([], { mode, nodes: [{ id: "n1", storage: counted }] });
    const { client, cookie } = await logIn(process, "ann");
    const seen = process.stats().events;
    const forgeAll = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const { session, setCookie } = await testClient(forged(cookie!)).visit(process);
        if (session?.isNew !== true || setCookie !== undefined)
          throw new Error("a forged cookie was believed");
      }
    };
    await forgeAll(10_000);
    counted.forgetCalls();
    const before = heapInUse();

    await forgeAll(100_000);

    const { ping: _, ...counts } = counted.counts();
    expect(counts).toEqual({ load: 0, save: 0, putIfNewer: 0, touch: 0, renewLease: 0, unlock: 0 });
    counted.forgetCalls();
    expect(heapInUse() - before).toBeLessThan(4 * 1024 * 1024);
    expect(process.stats().events).toEqual(seen);
    expect(process.health().nodes.map(({ id }) => id)).toEqual(["n1"]);
    expect((await client.visit(process)).session?.attributes.user).toBe("ann");
  });
});

describe("names with hyphens and dots", () => {
  it("original j: a host's name may have them, a node's id and a prefix none that could be taken for another's", async () => {
    const text = "n1:cache-1.eu-west.invalid:11211,n2:redis://cache-2.eu-west.invalid";
    expect(
      startProcess([], { nodes: text })
        .health()
        .nodes.map(({ id, kind }) => `${id} ${kind}`),
    ).toEqual(["n1 memcached", "n2 redis"]);

    for (const id of ["n-1", "n.1"]) {
      expect(() => startProcess([], { nodes: [{ id, url: "127.0.0.1:1" }] })).toThrow("MSM_ERR_OPTION");
    }
    expect(() => startProcess([], { keyPrefix: "app.example" })).toThrow("keyPrefix");
    expect(() => startProcess([], { mode: "sticky", route: "app.1" })).toThrow("route");
  });

  it("original j: an id that is none of ours, such as a UUID, is taken for none", async () => {
    const process = startProcess([], { nodes: [{ id: "n1", storage: memoryStorage() }] });

    const visits = ["n1", "n-1", "n.1"].map((node) =>
      testClient(`${randomUUID()}-${node}-${"A".repeat(43)}.app1`).visit(process, (attributes) => {
        attributes.n = 1;
      }),
    );

    for (const { session } of await Promise.all(visits)) {
      expect(session).toMatchObject({ isNew: true, id: expect.stringMatching(/^[0-9a-f]{48}$/) });
    }
  });
});

/** A cookie that looks right in one way or another, and is not. */
function forged(real: string): string {
  const { id, hint, route } = partsOf(real);
  const mac = real.split(`${hint}-`)[1]!.slice(0, 43);
  const end = route === undefined ? "" : `.${route}`;
  const anId = randomBytes(24).toString("hex");
  const aMac = randomBytes(32).toString("base64url");
  const aNode = `n${randomBytes(4).toString("hex")}`;
  const forgeries = [
    `${anId}-${hint}-${aMac}${end}`,
    `${anId}-${hint}-${mac}${end}`,
    `${id}-${aNode}-${mac}${end}`,
    `${id}-${hint}-${aMac}${end}`,
    `${anId}-${aNode}-${aMac}.${aNode}`,
    `${randomUUID()}-${aNode}`,
    aMac.repeat(randomInt(1, 40)),
  ];
  return forgeries[randomInt(forgeries.length)]!;
}

function turned(record: Buffer): Buffer {
  const bytes = Buffer.from(record);
  // Not in the version and the write id: those are what the storage itself compares, before anybody opens a record.
  // Nor in the id of the key: with another, the record is that of a process which has a newer secret.
  const keyIdAt = recordPrefixBytes;
  const keyIdBytes = 8;
  const any = 34 + randomInt(bytes.length - 34 - keyIdBytes);
  const at = any < keyIdAt ? any : any + keyIdBytes;
  bytes[at] = bytes[at]! ^ (1 << randomInt(8));
  return bytes;
}

/** Bytes that are reachable, once all garbage is collected. */
function heapInUse(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}
