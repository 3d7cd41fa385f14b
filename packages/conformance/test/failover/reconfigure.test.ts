import type { ChangeableOptions, SessionManager } from "@msm/core";
import { describe, expect, it } from "vitest";
import { testClient } from "../../src/index.js";
import {
  modes,
  nodeKinds,
  partsOf,
  type RealNode,
  startNodes,
  startProcess,
  versionOn,
} from "./real-nodes.js";
import { startTraffic } from "./traffic.js";

/** The option `nodes` for these. */
const named = (nodes: readonly RealNode[]) => nodes.map(({ id, url }) => ({ id, url }));

/** Two processes that serve the same sessions, with these options. */
function startFleet(nodes: readonly RealNode[], mode: (typeof modes)[number]) {
  const start = (route: string) => startProcess(nodes, { mode, ...(mode === "sticky" ? { route } : {}) });
  const processes: Record<string, SessionManager> = { app1: start("app1"), app2: start("app2") };
  /** One process after the other, as an operator would. */
  const reconfigure = async (changes: (route: string) => ChangeableOptions) => {
    for (const [route, process] of Object.entries(processes)) await process.reconfigure(changes(route));
  };
  return { processes, reconfigure };
}

for (const { kind, skip, reason } of nodeKinds) {
  describe.skipIf(skip).each(modes)(`reconfigure() under traffic, on ${kind}, %s${reason}`, (mode) => {
    const balancing = mode === "sticky" ? "by route" : "in turn";

    it("replaces the nodes one at a time", async () => {
      const [n1, n2, n3, n4] = (await startNodes(kind, 4)) as [RealNode, RealNode, RealNode, RealNode];
      const { processes, reconfigure } = startFleet([n1, n2], mode);
      const traffic = startTraffic(processes, { balancing });
      await traffic.goOn(10);

      for (const ring of [
        [n1, n2, n3],
        [n3, n2],
        [n3, n2, n4],
        [n3, n4],
      ]) {
        await reconfigure(() => ({ nodes: named(ring) }));
        await traffic.goOn(10);
      }

      expect(await traffic.end()).toEqual([]);
    });

    it("replaces all nodes at once", async () => {
      const [n1, n2, n3, n4] = (await startNodes(kind, 4)) as [RealNode, RealNode, RealNode, RealNode];
      const process = startProcess([n1, n2], { mode });
      const traffic = startTraffic({ app1: process }, { balancing });
      await traffic.goOn(10);

      for (const ring of [[n3, n4], [n1], [n2], [n4, n3]]) {
        await process.reconfigure({ nodes: named(ring) });
        await traffic.goOn(10);
      }

      expect(await traffic.end()).toEqual([]);
    });

    it("gives a node's id to another server", async () => {
      const [n1, n2, n3, n4] = (await startNodes(kind, 4)) as [RealNode, RealNode, RealNode, RealNode];
      const process = startProcess([n1, n2], { mode });
      const traffic = startTraffic({ app1: process }, { balancing });
      await traffic.goOn(10);

      for (const [first, second] of [
        [n3, n2],
        [n3, n4],
        [n2, n1],
      ] as const) {
        await process.reconfigure({ nodes: `n1:${first.url},n2:${second.url}` });
        await traffic.goOn(10);
      }

      expect(await traffic.end()).toEqual([]);
    });

    it("makes failover nodes of ordinary ones, and the other way round", async () => {
      const nodes = await startNodes(kind, 3);
      const { processes, reconfigure } = startFleet(nodes, mode);
      const traffic = startTraffic(processes, { balancing });
      await traffic.goOn(10);

      for (const failoverNodes of ["n1", "n1 n2", "n2 n3", []]) {
        await reconfigure(() => ({ failoverNodes }));
        await traffic.goOn(10);
      }

      expect(await traffic.end()).toEqual([]);
    });

    it("changes the mode there and back, in one process after the other", async () => {
      const nodes = await startNodes(kind, 2);
      const { processes, reconfigure } = startFleet(nodes, mode);
      const traffic = startTraffic(processes, { balancing: "in turn" });
      await traffic.goOn(10);

      for (const next of ["sticky", "non-sticky", "sticky", "non-sticky"] as const) {
        await reconfigure((route) => ({ mode: next, ...(next === "sticky" ? { route } : {}) }));
        await traffic.goOn(5);
      }

      expect(await traffic.end()).toEqual([]);
    });

    it("changes all of it at once, again and again", async () => {
      const nodes = await startNodes(kind, 4);
      const process = startProcess(nodes.slice(0, 2), { mode });
      const traffic = startTraffic({ app1: process }, { balancing });
      await traffic.goOn(5);

      const changes = nodes.flatMap((_, at): ChangeableOptions[] => {
        const ring = [...nodes.slice(at), ...nodes.slice(0, at)].slice(0, 1 + (at % 3));
        const failoverNodes = ring.slice(1, 2).map(({ id }) => id);
        return [
          { nodes: named(ring), failoverNodes, mode: "sticky", route: "app1", backup: "async" },
          { nodes: named(ring), failoverNodes: [], operationTimeoutMs: 4000 + at },
          { mode: "non-sticky", lockTimeoutMs: 20_000, idleTimeoutMs: 60_000 },
        ];
      });
      await Promise.all(changes.map((change) => process.reconfigure(change)));
      await traffic.goOn(5);
      for (const change of changes) {
        await process.reconfigure(change);
        await traffic.goOn(2);
      }

      expect(await traffic.end()).toEqual([]);
      expect(process.stats().events.reconfigured).toBe(2 * changes.length);
    });
  });
}
