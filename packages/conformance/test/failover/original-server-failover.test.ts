import { createSessionManager } from "@msm/core";
import { describe, expect, it } from "vitest";
import { type FaultyStorage, faulty, testClient } from "../../src/index.js";
import {
  nextEvent,
  nodeKinds,
  nodeOf,
  partsOf,
  type RealNode,
  startNodes,
  startProcess,
  versionOn,
} from "./real-nodes.js";

// What memcached-session-manager does when a request comes to another server, by the numbers in
// docs/original-behaviours.md. What shows in HTTP only, 133 to 136, is tested in @msm/express.

for (const { kind, skip, reason } of nodeKinds) {
  const startTwo = (nodes: readonly RealNode[]) => [
    startProcess(nodes, { mode: "sticky", route: "tc1" }),
    startProcess(nodes, { mode: "sticky", route: "tc2" }),
  ];

  describe.skipIf(skip)(`on ${kind}${reason}`, () => {
    it("original 128: the server that takes a session over puts its route into the cookie, and tells of it once", async () => {
      const nodes = await startNodes(kind, 1);
      const [one, two] = startTwo(nodes);
      const client = testClient();
      await client.visit(one!, (attributes) => {
        attributes.foo = "bar";
      });
      await client.visit(one!);
      const before = client.cookie;
      expect(partsOf(before).route).toBe("tc1");
      const told: unknown[] = [];
      two!.on("takenOver", (detail) => void told.push(detail));

      const first = await client.visit(two!);
      const after = client.cookie;
      const second = await client.visit(two!);

      expect([first, second].map(({ session }) => session?.id)).toEqual([
        partsOf(before).id,
        partsOf(before).id,
      ]);
      expect(first.setCookie).toBeDefined();
      expect(second.setCookie).toBeUndefined();
      expect(partsOf(after)).toEqual({ ...partsOf(before), route: "tc2" });
      expect(told).toEqual([{ session: expect.any(String), from: "tc1", to: "tc2" }]);
    });

    it("original 129: servers without routes serve the same session under the same cookie, and none takes it over", async () => {
      const nodes = await startNodes(kind, 1);
      const [one, two] = [startProcess(nodes), startProcess(nodes)];
      const client = testClient();
      await client.visit(one, (attributes) => {
        attributes.foo = "bar";
      });
      const before = client.cookie;

      const { session } = await client.visit(two);

      expect(session).toMatchObject({ id: partsOf(before).id, isNew: false });
      expect(client.cookie).toBe(before);
      expect(two.stats().events.takenOver).toBe(0);
      const options = { mode: "sticky", secret: "x".repeat(32) } as Parameters<
        typeof createSessionManager
      >[0];
      expect(() => createSessionManager(options)).toThrow("MSM_ERR_OPTION");
    });

    it.each([
      ["original 130: a session that is taken over stays the one record that it is", "n1:"],
      ["original 131: so it does on a node without an id", ""],
    ])("%s", async (_title, id) => {
      const [node] = await startNodes(kind, 1);
      const start = (route: string) =>
        startProcess([], { mode: "sticky", route, nodes: `${id}${node!.url}` });
      const [one, two] = [start("tc1"), start("tc2")];
      const client = testClient();
      await client.visit(one, (attributes) => {
        attributes.foo = "bar";
      });
      const before = client.cookie!;
      expect(await versionOn(node!, partsOf(before).id)).toBe(1);

      const { session } = await client.visit(two);

      expect(session?.attributes.foo).toBe("bar");
      expect(client.cookie).toBe(before.replace(/\.tc1$/, ".tc2"));
      expect(await versionOn(node!, partsOf(before).id)).toBe(2);
    });

    it("original 132: a take-over costs one read and one write, and what does not change the session costs none", async () => {
      const [server] = await startNodes(kind, 1);
      const counted = faulty(server!.storage);
      const start = (route: string) =>
        startProcess([], { mode: "sticky", route, nodes: [{ id: "n1", storage: counted }] });
      const [one, two] = [start("tc1"), start("tc2")];
      const client = testClient();
      const put = (name: string, value: string) => (attributes: Record<string, unknown>) => {
        attributes[name] = value;
      };

      await client.visit(one, put("foo", "bar"));
      expect(countsOf(counted)).toEqual({ save: 1 });
      await client.visit(two);
      expect(countsOf(counted)).toEqual({ load: 1, save: 2 });
      await client.visit(two, put("foo", "bar"));
      expect(countsOf(counted)).toEqual({ load: 1, save: 2 });
      await client.visit(two, put("bar", "foo"));
      expect(countsOf(counted)).toEqual({ load: 1, save: 3 });
    });

    it("original 137: a session leaves the node that only the server that takes it over keeps for failovers", async () => {
      const nodes = await startNodes(kind, 2);
      const one = startProcess(nodes, { mode: "sticky", route: "tc1", failoverNodes: "n1" });
      const two = startProcess(nodes, { mode: "sticky", route: "tc2", failoverNodes: "n2" });
      const [n1, n2] = [nodeOf(nodes, "n1"), nodeOf(nodes, "n2")];
      const client = testClient();
      await client.visit(one, (attributes) => {
        attributes.foo = "bar";
      });
      const { id } = partsOf(client.cookie);
      expect(partsOf(client.cookie)).toEqual({ id, hint: "n2", route: "tc1" });
      expect([await versionOn(n1, id), await versionOn(n2, id)]).toEqual([undefined, 1]);
      const warned = nextEvent(two, "warning");

      const { session } = await client.visit(two);

      expect(session?.attributes.foo).toBe("bar");
      expect(partsOf(client.cookie)).toEqual({ id, hint: "n1", route: "tc2" });
      expect(await versionOn(n1, id)).toBe(2);
      expect((await warned).message).toContain("other `nodes` or `failoverNodes`");
    });
  });
}

/** How often each verb reached a node; pings are no business of a session's. */
function countsOf(node: FaultyStorage): Record<string, number> {
  const counted = Object.entries(node.counts()).filter(([verb, count]) => verb !== "ping" && count > 0);
  return Object.fromEntries(counted);
}
