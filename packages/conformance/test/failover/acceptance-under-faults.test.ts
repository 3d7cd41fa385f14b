import { isTombstone, type SessionManager } from "@msm/core";
import { describe, expect, it } from "vitest";
import { pause, testClient, waitUntil } from "../../src/index.js";
import {
  keyOf,
  logIn,
  logInOn,
  modes,
  nextEvent,
  nodeKinds,
  nodeOf,
  partsOf,
  type RealNode,
  ringFrom,
  startNodes,
  startProcess,
  throughProxies,
  versionOn,
  visitUntilAnswered,
} from "./real-nodes.js";

// What memcached-session-manager would fail while something else fails, by the letters in docs/original-behaviours.md.
// Letter d takes whole processes: test-e2e/takeover.

const stateOf = (process: SessionManager, id: string) =>
  process.health().nodes.find((node) => node.id === id)?.state;

const isDown = (process: SessionManager, { id }: RealNode) =>
  waitUntil(`node ${id} is missed`, () => stateOf(process, id) === "down");

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
      expect(await versionOn(first!, id)).toBe(1);
      expect(await versionOn(second!, id)).toBeGreaterThan(1);
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
