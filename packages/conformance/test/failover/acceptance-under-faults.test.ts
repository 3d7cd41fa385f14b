import { randomBytes, randomInt, randomUUID } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isTombstone, type MsmError, memoryStorage, type SessionManager } from "@msm/core";
import { describe, expect, it } from "vitest";
import { faulty, pause, type TestClient, testClient, waitUntil } from "../../src/index.js";
import {
  keyOf,
  modes,
  nextEvent,
  nodeKinds,
  nodeOf,
  overwriteRecord,
  partsOf,
  type RealNode,
  ringFrom,
  startNodes,
  startProcess,
  throughProxies,
  versionOn,
} from "./real-nodes.js";

// What memcached-session-manager would fail while something else fails, by the letters in docs/original-behaviours.md.
// Letter d takes whole processes: test-e2e/takeover.

const stateOf = (process: SessionManager, id: string) =>
  process.health().nodes.find((node) => node.id === id)?.state;

const isDown = (process: SessionManager, { id }: RealNode) =>
  waitUntil(`node ${id} is missed`, () => stateOf(process, id) === "down");

/** Who logged in, and the session's id and first node. */
async function logIn(process: SessionManager, user: string) {
  const client = testClient();
  await client.visit(process, (attributes) => {
    attributes.user = user;
  });
  const { id, hint } = partsOf(client.cookie);
  return { user, client, id, hint, cookie: client.cookie };
}

/** Sessions are spread over the nodes: logs in until one is on the node that is wanted. */
async function logInOn(node: string, process: SessionManager) {
  for (;;) {
    const loggedIn = await logIn(process, "ann");
    if (loggedIn.hint === node) return loggedIn;
  }
}

/** Visits, again and again while nobody can say whether there is a session. */
async function visitUntilAnswered(client: TestClient, process: SessionManager) {
  let visit: Awaited<ReturnType<TestClient["visit"]>> | undefined;
  await waitUntil("the request is answered", async () => {
    visit = await client.visit(process).catch((error: MsmError) => {
      expect(error.status).toBe(503);
      return undefined;
    });
    return visit !== undefined;
  });
  return visit!;
}

for (const { kind, skip, reason } of nodeKinds) {
  describe.skipIf(skip)(`on ${kind}${reason}`, () => {
    it("original e: the newest version wins where the copy's node came and went and the session's own node is lost then", async () => {
      const nodes = await throughProxies(await startNodes(kind, 3));
      const one = startProcess(nodes);
      const { client, id, hint } = await logIn(one, "ann");
      const [own, next, last] = ringFrom(nodes, hint);
      const increment = (attributes: { n?: number }) => {
        attributes.n = (attributes.n ?? 0) + 1;
      };
      await client.visit(one, increment);

      next!.cutOff();
      expect((await client.visit(one, increment)).result.outcome).toBe("stored");
      await isDown(one, next!);
      next!.reconnect();
      expect([await versionOn(own!, id), await versionOn(next!, id), await versionOn(last!, id)]).toEqual([
        3, 2, 3,
      ]);
      await own!.server.kill();
      const fresh = startProcess(nodes); // knows nothing of what happened

      const { session } = await testClient(client.cookie).visit(fresh);
      expect(session?.attributes.n).toBe(2);
      expect((await client.visit(one)).session?.attributes.n).toBe(2);
      expect(await versionOn(next!, id), "whoever goes on with it there finds it there").toBe(3);
    });

    it("original e: a backup that its owner moved wins over the one that an earlier node came back with", async () => {
      const nodes = await throughProxies(await startNodes(kind, 3));
      const owner = startProcess(nodes, { mode: "sticky", route: "app1" });
      const { client, id, hint } = await logIn(owner, "ann");
      const [first, second] = ringFrom(nodes, hint);

      first!.cutOff();
      await client.visit(owner, (attributes) => {
        attributes.n = 2;
      });
      expect(partsOf(client.cookie).hint).toBe(second!.id);
      await isDown(owner, first!);
      first!.reconnect();
      expect([await versionOn(first!, id), await versionOn(second!, id)]).toEqual([1, 2]);
      const moved = nextEvent(owner, "relocated");
      await second!.server.kill();
      await moved;
      const next = startProcess(nodes, { mode: "sticky", route: "app2" });

      const { session } = await client.visit(next);

      expect({ ...session?.attributes }).toEqual({ user: "ann", n: 2 });
    });

    describe.each(modes)("%s", (mode) => {
      it("original f: who logs out while a node of their session is cut off stays logged out when it is back", async () => {
        const nodes = await throughProxies(await startNodes(kind, 2));
        const one = startProcess(nodes, { mode });
        const [away] = nodes;
        const visitors = [await logInOn("n1", one), await logInOn("n2", one)];
        const isLoggedOut = async (cookie: string | undefined, process: SessionManager) => {
          const { session } = await testClient(cookie).visit(process);
          return session?.isNew === true && session.attributes.user === undefined;
        };

        away!.cutOff();
        for (const { client } of visitors) {
          await client.visit(one, (_, session) => session.destroy());
          expect(client.cookie).toBeUndefined();
        }
        await isDown(one, away!);
        const isBack = nextEvent(one, "nodeUp");
        away!.reconnect();

        for (const { cookie } of visitors) expect(await isLoggedOut(cookie, one), "at once").toBe(true);
        await isBack;
        for (const { id } of visitors) {
          await waitUntil("the node has learnt of it", async () => {
            const loaded = await away!.storage.load(keyOf(id));
            return loaded.kind === "found" && isTombstone(loaded.record);
          });
        }
        const fresh = startProcess(nodes, { mode, route: "app2" });
        for (const { cookie } of visitors) expect(await isLoggedOut(cookie, fresh)).toBe(true);
      });

      it("original g: a hiccup of the only node that is shorter than the deadline is noticed by nobody", async () => {
        const [node] = await throughProxies(await startNodes(kind, 1));
        const process = startProcess([node!], { mode });
        const visitors = await Promise.all(
          Array.from({ length: 8 }, (_, index) => logIn(process, `user ${index}`)),
        );

        node!.proxy.hold("replies");
        const visits = visitors.map(({ client }) =>
          client.visit(process, (attributes) => {
            attributes.n = 1;
          }),
        );
        await pause(100); // the hiccup
        node!.proxy.pass();

        for (const [index, { result, setCookie, session }] of (await Promise.all(visits)).entries()) {
          expect(result.outcome).toBe("stored");
          expect(setCookie).toBeUndefined();
          expect({ ...session?.attributes }).toEqual({ user: `user ${index}`, n: 1 });
        }
        expect(process.stats().events.nodeDown).toBe(0);
      });

      it("original g: a longer one costs some requests a 503, and nobody their session", async () => {
        const [node] = await throughProxies(await startNodes(kind, 1));
        const process = startProcess([node!], { mode, operationTimeoutMs: 200 });
        const visitors = await Promise.all(
          Array.from({ length: 8 }, async (_, index) => {
            const client = testClient();
            await waitUntil("the session is stored", async () => {
              const { result } = await client.visit(process, (attributes) => {
                attributes.user = `user ${index}`;
              });
              return result.outcome === "stored" || result.outcome === "unneeded";
            });
            return { client, cookie: client.cookie };
          }),
        );

        node!.proxy.hold("replies");
        await isDown(process, node!);
        await Promise.allSettled(visitors.map(({ client }) => client.visit(process)));
        node!.proxy.pass();

        for (const [index, { client, cookie }] of visitors.entries()) {
          expect(client.cookie, "neither taken away nor replaced").toBe(cookie);
          const { session } = await visitUntilAnswered(client, process);
          expect(session).toMatchObject({ id: partsOf(cookie).id, isNew: false });
          expect(session?.attributes.user).toBe(`user ${index}`);
        }
      });

      it.each([
        ["another's record", (_own: Buffer, anothers: Buffer) => anothers],
        ["one with a bit turned over", (own: Buffer) => turned(own)],
        ["half of one", (own: Buffer) => own.subarray(0, 60 + randomInt(own.length - 60))],
      ] as const)(
        "original i: %s in a session's place is not believed, and the copy, where there is one, is",
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

      it("original p: a session that is too large is refused with an error that says so, and harms nobody", async () => {
        const nodes = await startNodes(kind, 2);
        const process = startProcess(nodes, { mode });
        const ann = await logIn(process, "ann");
        const ben = await logIn(process, "ben");

        const { result } = await ann.client.visit(process, (attributes) => {
          attributes.photo = "x".repeat(600_000);
          attributes.n = 1;
        });

        expect(result).toMatchObject({ outcome: "failed", error: { code: "MSM_ERR_RECORD_TOO_LARGE" } });
        await expectUnharmed(process, nodes, ann, ben);
      });
    });
  });
}

const memcached = nodeKinds[0];
describe.skipIf(memcached.skip).each(modes)(`on memcached, %s${memcached.reason}`, (mode) => {
  it("original p: so is one that is too large for the server alone", async () => {
    const nodes = await startNodes("memcached", 2);
    const process = startProcess(nodes, { mode, maxRecordBytes: 3_000_000 });
    const ann = await logIn(process, "ann");
    const ben = await logIn(process, "ben");

    const { result } = await ann.client.visit(process, (attributes) => {
      attributes.photo = "x".repeat(1_500_000);
      attributes.n = 1;
    });

    expect(result).toMatchObject({ outcome: "failed", error: { code: "MSM_ERR_STORAGE_REFUSED" } });
    expect(result.error?.message).toContain("too large");
    if (mode === "sticky") {
      // What was refused is still in memory, where the next request shortens it.
      await ann.client.visit(process, (attributes) => {
        delete attributes.photo;
        delete attributes.n;
      });
    }
    await expectUnharmed(process, nodes, ann, ben);
  });
});

type LoggedIn = Awaited<ReturnType<typeof logIn>>;

/** Both sessions are as they were, here and for a process that has nothing in memory, and no node was blamed. */
async function expectUnharmed(
  process: SessionManager,
  nodes: readonly RealNode[],
  ...visitors: readonly LoggedIn[]
): Promise<void> {
  expect(process.stats().events.nodeDown).toBe(0);
  expect(process.health().nodes.map(({ state }) => state)).toEqual(nodes.map(() => "up"));
  for (const { client, cookie, user } of visitors) {
    const { session, setCookie } = await client.visit(process);
    expect({ ...session?.attributes }).toEqual({ user });
    expect(setCookie).toBeUndefined();
    const stored = await nodeOf(nodes, partsOf(cookie).hint).storage.load(keyOf(partsOf(cookie).id));
    expect(stored.kind).toBe("found");
  }
  const { user } = visitors[0]!;
  const { result } = await visitors[1]!.client.visit(process, (attributes) => {
    attributes.friend = user;
  });
  expect(result.outcome).toBe("stored");
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
    const process = startProcess([], { nodes: undefined });

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

for (const { kind, skip, reason } of nodeKinds) {
  describe.skipIf(skip)(`on ${kind}${reason}`, () => {
    it("original q: a session that was only read for longer than its idle timeout outlives its server", async () => {
      const nodes = await startNodes(kind, 2);
      const line = await throughProxies(nodes);
      const idleTimeoutMs = 3000;
      const owner = startProcess(line, { mode: "sticky", route: "app1", idleTimeoutMs });
      const { client, cookie } = await logIn(owner, "ann");
      const startedMs = performance.now();

      while (performance.now() - startedMs < 1.4 * idleTimeoutMs) {
        expect((await client.visit(owner)).session?.isNew).toBe(false);
        await pause(50);
      }
      for (const node of line) node.cutOff(); // nothing that the owner does reaches a node any more

      expect(client.cookie).toBe(cookie);
      const other = startProcess(nodes, { mode: "sticky", route: "app2", idleTimeoutMs });
      const { session } = await client.visit(other);
      expect(session?.attributes.user).toBe("ann");
    });
  });
}

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
  const at = 34 + randomInt(bytes.length - 34);
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
