import {
  type ChangeableOptions,
  createSessionManager,
  MsmError,
  type SessionManager,
  type SessionManagerOptions,
} from "@msm/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { testClient, waitUntil } from "../../src/index.js";
import {
  modes,
  nextEvent,
  nodeKinds,
  partsOf,
  type RealNode,
  startNodes,
  startProcess,
  throughProxies,
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

  describe.skipIf(skip)(`reconfigure() on ${kind}${reason}`, () => {
    it.each(modes)(
      "original 126: a session whose node stops goes to a node that is new, not to the failover node, %s",
      async (mode) => {
        const [n1, n2, n3] = (await startNodes(kind, 3)) as [RealNode, RealNode, RealNode];
        const process = startProcess([n1, n2], { mode, failoverNodes: "n2" });
        const client = testClient();
        await client.visit(process, (attributes) => {
          attributes.foo = "bar";
        });
        const { id, hint } = partsOf(client.cookie);
        expect(hint).toBe("n1");

        await process.reconfigure({ nodes: named([n1, n2, n3]) });
        await n1.server.kill();
        const { session, setCookie } = await client.visit(process, (attributes) => {
          attributes.n = 1;
        });

        expect({ ...session?.attributes }).toEqual({ foo: "bar", n: 1 });
        expect(setCookie).toBeDefined();
        expect(partsOf(client.cookie)).toMatchObject({ id, hint: "n3" });
        expect(await versionOn(n3, id)).toBeGreaterThan(1);
      },
    );

    it("original 127: new sessions go to the node that is no failover node, sticky", async () => {
      const nodes = await startNodes(kind, 3);
      const process = startProcess(nodes, { mode: "sticky" });
      const nodeOfNewSession = async () => {
        const client = testClient();
        await client.visit(process, (attributes) => {
          attributes.foo = "bar";
        });
        return partsOf(client.cookie).hint;
      };

      await process.reconfigure({ failoverNodes: "n2 n3" });
      expect(await nodeOfNewSession()).toBe("n1");
      await process.reconfigure({ failoverNodes: "n1 n2" });
      expect(await nodeOfNewSession()).toBe("n3");
    });

    it("keeps the connections to nodes that stay, and makes new ones for another operationTimeoutMs", async () => {
      const nodes = await throughProxies(await startNodes(kind, 3));
      const process = startProcess(nodes.slice(0, 2));
      const client = testClient();
      const visit = () =>
        client.visit(process, (attributes) => {
          attributes.n = 1 + Number(attributes.n ?? 0);
        });
      await visit();
      await waitUntil(
        "both are asked by the probe",
        () => nodes[0]!.proxy.accepted > 1 && nodes[1]!.proxy.accepted > 1,
      );
      await visit();
      const opened = () => nodes.slice(0, 2).map(({ proxy }) => proxy.accepted);
      const before = opened();

      await process.reconfigure({ nodes: named([nodes[2]!, nodes[1]!, nodes[0]!]), failoverNodes: "n3" });
      await visit();
      expect(opened()).toEqual(before);

      await process.reconfigure({ operationTimeoutMs: 4000 });
      await visit();
      await waitUntil("the former connections are closed", () => nodes.every(({ proxy }) => proxy.open <= 2));
      expect(opened().every((count, at) => count > before[at]!)).toBe(true);
      expect(process.stats().events).toMatchObject({ nodeReconnected: 0, nodeDown: 0 });
      expect(process.health().status).toBe("ok");
      expect((await visit()).session?.attributes.n).toBe(5);
    });

    it.each(modes)(
      "moves all sessions that are used, %s: the former servers can then be ended",
      async (mode) => {
        const [n1, n2, n3, n4] = (await startNodes(kind, 4)) as [RealNode, RealNode, RealNode, RealNode];
        const process = startProcess([n1, n2], { mode });
        const clients = Array.from({ length: 20 }, () => testClient());
        for (const client of clients) {
          await client.visit(process, (attributes) => {
            attributes.n = 1;
          });
        }

        await process.reconfigure({ nodes: named([n3, n4]) });
        for (const client of clients) await client.visit(process, (attributes) => attributes.n);
        // In sticky mode a backup moves in the background, without a request.
        await waitUntil("all have moved", () => process.stats().events.relocated >= clients.length);
        await Promise.all([n1.server.kill(), n2.server.kill()]);

        const other = startProcess([n3, n4], { mode, ...(mode === "sticky" ? { route: "app2" } : {}) });
        for (const client of clients) expect((await client.visit(other)).session?.attributes.n).toBe(1);
      },
    );
  });
}

const secret = "the secret of these tests, of 32 bytes and more";

/** What `createSessionManager()` says of options. */
function troubleAtStart(options: object): unknown {
  try {
    void createSessionManager({
      secret,
      nodes: "n1:127.0.0.1:1",
      ...options,
    } as SessionManagerOptions).close();
    return undefined;
  } catch (error) {
    return error;
  }
}

describe("what reconfigure() takes", () => {
  const start = (options: object = {}) => {
    const manager = createSessionManager({ secret, ...options } as SessionManagerOptions);
    onTestFinished(() => manager.close());
    return manager;
  };
  const bad: readonly object[] = [
    { nodes: "" },
    { nodes: [] },
    { nodes: "n1:a:1,n1:b:2" },
    { nodes: "http://a" },
    { nodes: [{ id: "n-1", url: "a:1" }] },
    { nodes: "n1:a:1", failoverNodes: "n2" },
    { failoverNodes: "n1" },
    { mode: "tidy" },
    { mode: "sticky" },
    { mode: "sticky", route: "app.1" },
    { backup: "async" },
    { operationTimeoutMs: 0 },
    { lockTimeoutMs: "1s" },
    { leaseTtlMs: 40_000, maxLeaseMs: 30_000 },
    { idleTimeoutMs: -1 },
    { enabled: "no" },
    { locking: "some" },
    { locking: "none", onConflict: "fail" },
    { onStorageError: "panic" },
    { maxRecordBytes: 1 },
    { operationTimeout: 100 },
  ];

  it.each(bad.map((changes) => [JSON.stringify(changes), changes] as const))(
    "is checked as at the start: %s",
    async (_, changes) => {
      const manager = start({ nodes: "n1:127.0.0.1:1" });
      const health = manager.health().nodes.map(({ id, role }) => [id, role]);

      const trouble = await manager
        .reconfigure({ lockTimeoutMs: 77, ...changes })
        .catch((error: unknown) => error);

      const expected = troubleAtStart(changes);
      expect(expected).toBeInstanceOf(MsmError);
      expect(trouble).toMatchObject({ code: "MSM_ERR_OPTION" });
      if (!("operationTimeout" in changes))
        expect(trouble).toHaveProperty("message", (expected as MsmError).message);
      expect(manager.health().nodes.map(({ id, role }) => [id, role])).toEqual(health);
      expect(manager.stats().events.reconfigured).toBe(0);
    },
  );

  it("is checked by the compiler", async () => {
    const manager = start();
    // @ts-expect-error -- a secret cannot be changed
    await expect(manager.reconfigure({ secret: "another" })).rejects.toThrow("secret");
    // @ts-expect-error -- a slip of the pen
    await expect(manager.reconfigure({ operationTimeout: 5 })).rejects.toThrow("operationTimeout");
  });

  it.each(["secret", "keyPrefix", "cookie", "codec", "clock"])(
    "says that %s needs a restart",
    async (name) => {
      const changes: object = { [name]: "another one, which is long enough to be a secret" };
      await expect(start().reconfigure(changes)).rejects.toThrow(
        `MSM_ERR_OPTION: ${name} cannot be changed at run time`,
      );
    },
  );

  it("leaves alone what is left out, or undefined", async () => {
    const manager = start({ lockTimeoutMs: 50, locking: "all" });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });

    await manager.reconfigure({ lockTimeoutMs: undefined, nodes: undefined, onLockTimeout: "optimistic" });

    const holder = await client.open(manager);
    const timedOut = nextEvent(manager, "lockTimedOut");
    expect((await testClient(client.cookie).visit(manager)).session?.attributes.n).toBe(1);
    expect((await timedOut).outcome).toBe("optimistic");
    await client.finish(holder);
  });

  it("goes on with another locking and another onConflict", async () => {
    const manager = start({ locking: "none" });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });

    await manager.reconfigure({ locking: "optimistic", onConflict: "fail" });
    const requests = [await client.open(manager), await client.open(manager)];
    requests.forEach((request, at) => {
      request.session!.attributes.n = 10 + at;
    });
    const outcomes: string[] = [];
    for (const request of requests) outcomes.push((await client.finish(request)).result.outcome);

    expect(outcomes).toEqual(["stored", "failed"]);
  });

  it("is done one after the other, and told by an event", async () => {
    const manager = start({ nodes: "n1:127.0.0.1:1,n2:127.0.0.1:2" });
    const told: unknown[] = [];
    manager.on("reconfigured", (detail) => told.push(detail));

    const first = manager.reconfigure({ nodes: "n2:127.0.0.1:2,n3:127.0.0.1:3" });
    const refused = manager.reconfigure({ nodes: "http://n4" });
    const last = manager.reconfigure({ nodes: "n3:127.0.0.1:3,n1:127.0.0.1:1", failoverNodes: "n1" });

    await first;
    await expect(refused).rejects.toThrow("MSM_ERR_OPTION");
    await last;
    expect(told).toEqual([
      { options: ["nodes"], joined: ["n3"], left: ["n1"] },
      { options: ["nodes", "failoverNodes"], joined: ["n1"], left: ["n2"] },
    ]);
    const { nodes } = manager.health();
    expect(nodes.map(({ id }) => id)).toEqual(["n3", "n1", "n2"]);
  });

  it("is refused after close()", async () => {
    const manager = start();
    await manager.close();
    await expect(manager.reconfigure({ lockTimeoutMs: 1 })).rejects.toMatchObject({ code: "MSM_ERR_CLOSED" });
  });
});
