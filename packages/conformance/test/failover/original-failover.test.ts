import { describe, expect, it } from "vitest";
import { testClient, waitUntil } from "../../src/index.js";
import {
  modes,
  nextEvent,
  nodeKinds,
  nodeOf,
  partsOf,
  ringFrom,
  startNodes,
  startProcess,
  versionOn,
} from "./real-nodes.js";

// What memcached-session-manager does when its nodes go, by the numbers in docs/original-behaviours.md.

for (const { kind, skip, reason } of nodeKinds) {
  /** A session foo=bar on servers of its own, the first of the ring is the one it is on. */
  const holding = async (mode: (typeof modes)[number], count: number) => {
    const nodes = await startNodes(kind, count);
    const process = startProcess(nodes, { mode });
    const client = testClient();
    await client.visit(process, (attributes) => {
      attributes.foo = "bar";
    });
    const { cookie } = client;
    const { id, hint } = partsOf(cookie);
    return { nodes, process, client, cookie, id, hint, ring: ringFrom(nodes, hint) };
  };

  describe.skipIf(skip).each(modes)(`on ${kind}, %s${reason}`, (mode) => {
    it("original 120: a session whose node is killed goes on with another, under the same id", async () => {
      const { nodes, process, client, cookie, id, hint, ring } = await holding(mode, 3);

      await ring[0]!.server.kill();
      const { session, setCookie } = await client.visit(process, (attributes) => {
        attributes.n = 1;
      });

      expect(session?.id).toBe(id);
      expect(setCookie).toBeDefined();
      expect(partsOf(client.cookie)).toEqual({ ...partsOf(cookie), hint: ring[1]!.id });
      expect((await client.visit(process)).setCookie).toBeUndefined();
      expect({ ...(await client.visit(process)).session?.attributes }).toEqual({ foo: "bar", n: 1 });
      expect(await versionOn(nodeOf(nodes, partsOf(client.cookie).hint), id)).toBeGreaterThan(1);
      expect(process.stats().events.relocated).toBe(1);
      expect(process.health().nodes.find((node) => node.id === hint)?.state).toBe("down");
    });

    it("original 120: so does one that is only read", async () => {
      const { nodes, process, client, cookie, id, ring } = await holding(mode, 3);
      const relocated = nextEvent(process, "relocated");

      await ring[0]!.server.kill();
      // Who reads what is in memory asks no node. The backup is moved once the node was missed.
      if (mode === "sticky") await relocated;
      const { session, setCookie } = await client.visit(process);

      expect(session?.attributes.foo).toBe("bar");
      expect(setCookie).toBeDefined();
      expect(partsOf(client.cookie)).toEqual({ ...partsOf(cookie), hint: ring[1]!.id });
      expect((await client.visit(process)).setCookie).toBeUndefined();
      expect(await versionOn(nodeOf(nodes, partsOf(client.cookie).hint), id)).toBe(1);
    });

    it("original 121: a session whose node and the one before that are killed goes on with the last one", async () => {
      const { process, client, cookie, id, ring } = await holding(mode, 3);
      const [own, next, before] = ring;

      await Promise.all([own!.server.kill(), before!.server.kill()]);
      const { session } = await client.visit(process, (attributes) => {
        attributes.n = 1;
      });

      expect({ ...session?.attributes }).toEqual({ foo: "bar", n: 1 });
      expect(partsOf(client.cookie)).toEqual({ ...partsOf(cookie), hint: next!.id });
      expect((await client.visit(process)).setCookie).toBeUndefined();
      expect(await versionOn(next!, id)).toBeGreaterThan(1);
    });

    it("original 125: new sessions go to a failover node where no other is left, and stay as they are", async () => {
      const nodes = await startNodes(kind, 2);
      const process = startProcess(nodes, { mode, failoverNodes: "n1" });
      await nodeOf(nodes, "n2").server.kill();
      const client = testClient();

      const first = await client.visit(process, (attributes) => {
        attributes.foo = "bar";
      });
      const second = await client.visit(process);

      expect(first.result.outcome).toBe("stored");
      expect(partsOf(client.cookie).hint).toBe("n1");
      expect(second.session).toMatchObject({ id: first.session!.id, isNew: false });
      expect(second.session?.attributes.foo).toBe("bar");
      expect(second.setCookie).toBeUndefined();
      expect(await versionOn(nodeOf(nodes, "n1"), first.session!.id)).toBeGreaterThan(0);
    });
  });

  describe.skipIf(skip)(`on ${kind}, non-sticky${reason}`, () => {
    it("original 122: a session outlives the nodes around its own, and then its own one too", async () => {
      const { process, client, cookie, id, ring } = await holding("non-sticky", 3);
      const [own, next, last] = ring;

      await Promise.all([next!.server.kill(), last!.server.kill()]);
      const alone = await client.visit(process);
      expect(alone.session?.attributes.foo).toBe("bar");
      expect(client.cookie).toBe(cookie);

      const isBack = nextEvent(process, "nodeUp", ({ node }) => node === next!.id);
      await waitUntil("the next node is missed", () => stateOf(process, next!.id) === "down");
      await next!.server.restart();
      await isBack;
      await client.visit(process, (attributes) => attributes.foo);
      await waitUntil("the node has its copy again", async () => (await versionOn(next!, id)) === 1);

      await own!.server.kill();
      const { session } = await client.visit(process);
      expect(session).toMatchObject({ id, isNew: false });
      expect(session?.attributes.foo).toBe("bar");
      expect(partsOf(client.cookie)).toEqual({ ...partsOf(cookie), hint: next!.id });
    });
  });

  describe.skipIf(skip)(`on ${kind}, sticky${reason}`, () => {
    it("original 123: a session goes on in memory when all nodes are killed, with the same cookie", async () => {
      const { process, client, cookie, id, ring } = await holding("sticky", 3);

      await Promise.all(ring.map(({ server }) => server.kill()));
      const read = await client.visit(process);
      const written = await client.visit(process, (attributes) => {
        attributes.n = 1;
      });

      expect(read.session?.attributes.foo).toBe("bar");
      expect(written.result.outcome).toBe("kept");
      const { session } = await client.visit(process);
      expect(session).toMatchObject({ id, isNew: false });
      expect({ ...session?.attributes }).toEqual({ foo: "bar", n: 1 });
      expect(client.cookie).toBe(cookie);
      expect(process.stats().localSessions).toBe(1);
    });

    it("original 124: sessions begin in memory where no node was ever there, and keep their cookie", async () => {
      const nodes = await startNodes(kind, 2);
      await Promise.all(nodes.map(({ server }) => server.kill()));
      const process = startProcess(nodes, { mode: "sticky" });
      const client = testClient();

      const first = await client.visit(process, (attributes) => {
        attributes.foo = "bar";
      });
      expect(first.setCookie).toBeDefined();
      for (let times = 0; times < 3; times++) {
        const { session, setCookie } = await client.visit(process, (attributes) => {
          attributes.times = times;
        });
        expect(session?.id).toBe(first.session!.id);
        expect(setCookie).toBeUndefined();
      }

      const own = nodeOf(nodes, partsOf(client.cookie).hint);
      await own.server.restart();
      await waitUntil(
        "the session is backed up",
        async () => (await versionOn(own, first.session!.id)) === 1,
      );
      const other = startProcess(nodes, { mode: "sticky", route: "app2" });
      const { session } = await client.visit(other);
      expect({ ...session?.attributes }).toEqual({ foo: "bar", times: 2 });
    });
  });
}

const stateOf = (process: ReturnType<typeof startProcess>, id: string) =>
  process.health().nodes.find((node) => node.id === id)?.state;
