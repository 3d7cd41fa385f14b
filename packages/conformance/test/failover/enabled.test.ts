import { createServer, type Server, type Socket } from "node:net";
import { memoryStorage, type SessionManager } from "@msm/core";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  type Cluster,
  type ClusterOptions,
  cluster,
  freePort,
  testClient,
  waitUntil,
} from "../../src/index.js";
import { type Mode, modes, nodeKinds, partsOf, startNodes, startProcess, versionOn } from "./real-nodes.js";
import { startTraffic } from "./traffic.js";

function start(options: ClusterOptions): { running: Cluster; manager: SessionManager } {
  const running = cluster(options);
  onTestFinished(() => running.close());
  return { running, manager: running.start("app1") };
}

const callsOf = ({ nodes }: Cluster) => Object.values(nodes).flatMap(({ calls }) => calls);

/** Lets background work be done that needs no time. */
const settle = ({ clock }: Cluster) => clock.turn(0);

describe.each(modes)("enabled: false from the start, %s", (mode) => {
  it("keeps sessions in the process, and asks no node for anything", async () => {
    const { running, manager } = start({ mode, enabled: false });
    const client = testClient();

    const first = await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    await running.clock.turn(5000);
    const second = await client.visit(manager, (attributes) => {
      attributes.n = 2;
    });
    expect({ ...(await client.visit(manager)).session?.attributes }).toEqual({ n: 2 });

    expect([first.result.outcome, second.result.outcome]).toEqual(["kept", "kept"]);
    expect(second.session).toMatchObject({ id: first.session!.id, isNew: false });
    expect(second.setCookie).toBeUndefined();
    expect(callsOf(running)).toEqual([]);
    expect(manager.stats()).toMatchObject({ localSessions: 1, unsavedSessions: 1, events: { kept: 0 } });
    expect(manager.health()).toMatchObject({
      status: "degraded",
      nodes: [{ state: "off" }, { state: "off" }],
    });
  });

  it("destroys sessions and gives them new ids", async () => {
    const { running, manager } = start({ mode, enabled: false });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    const before = client.cookie;

    await client.visit(manager, async (attributes, session) => {
      await session.regenerate({ keep: "all" });
      attributes.m = 2;
    });
    expect(partsOf(client.cookie).id).not.toBe(partsOf(before).id);
    expect({ ...(await client.visit(manager)).session?.attributes }).toMatchObject({ n: 1 });
    expect((await testClient(before).visit(manager)).session?.isNew).toBe(true);

    const cookie = client.cookie;
    await client.visit(manager, (_, session) => session.destroy());
    expect((await testClient(cookie).visit(manager)).session?.isNew).toBe(true);
    expect(callsOf(running)).toEqual([]);
  });

  it("lets sessions expire", async () => {
    const { running, manager } = start({ mode, enabled: false, idleTimeoutMs: 10_000 });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });

    await running.clock.turn(9000);
    expect((await client.visit(manager)).session?.isNew).toBe(false);
    await running.clock.turn(11_000);

    expect((await client.visit(manager)).session?.isNew).toBe(true);
    expect(manager.stats().unsavedSessions).toBe(0);
  });

  it("shares a session between its requests, and locks it where it should", async () => {
    const { running, manager } = start({ mode, enabled: false, locking: "all" });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 0;
    });
    const visits = Array.from({ length: 5 }, () =>
      testClient(client.cookie).visit(manager, async (attributes) => {
        const n = Number(attributes.n);
        await new Promise((resolve) => setImmediate(resolve));
        attributes.n = n + 1;
      }),
    );
    await Promise.all(visits);
    await settle(running);

    expect((await client.visit(manager)).session?.attributes.n).toBe(5);
  });

  it("counts a session of another process as none, and leaves the client its cookie", async () => {
    const { running } = start({ mode });
    const enabled = running.start("app2", { enabled: true });
    const client = testClient();
    await client.visit(enabled, (attributes) => {
      attributes.n = 1;
    });
    const disabled = running.start("app3", { enabled: false });

    const { session, setCookie } = await client.visit(disabled);

    expect(session?.isNew).toBe(true);
    expect(setCookie).toBeUndefined();
    expect((await client.visit(enabled)).session?.attributes.n).toBe(1);
  });

  it("stores what is in the process when it is enabled, where cookies say, and goes on in its mode", async () => {
    const { running, manager } = start({ mode, enabled: false });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    const ended = testClient();
    await ended.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    const endedCookie = ended.cookie;
    await ended.visit(manager, (_, session) => session.destroy());

    await manager.reconfigure({ enabled: true });
    await settle(running);

    const other = running.start("app2", { enabled: true });
    expect((await testClient(client.cookie).visit(other)).session?.attributes.n).toBe(1);
    expect((await testClient(endedCookie).visit(other)).session?.isNew).toBe(true);
    expect(manager.stats().unsavedSessions).toBe(0);
    const { result, setCookie } = await client.visit(manager, (attributes) => {
      attributes.n = 2;
    });
    expect(result.outcome).toBe("stored");
    if (mode === "non-sticky") expect(setCookie).toBeUndefined();
    expect(manager.stats().localSessions).toBe(mode === "sticky" ? 1 : 0);
  });

  it("goes on in the process where no node can be reached when it is enabled", async () => {
    const { running, manager } = start({ mode, enabled: false });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    for (const node of Object.values(running.nodes)) node.goDown();

    const enabling = manager.reconfigure({ enabled: true });
    if (mode === "sticky") await enabling;
    else await expect(enabling).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });

    expect((await client.visit(manager)).session?.attributes.n).toBe(1);
    for (const node of Object.values(running.nodes)) node.comeBack();
    if (mode === "non-sticky") await manager.reconfigure({ enabled: true });
    await running.clock.turn(3000);
    expect(
      (await testClient(client.cookie).visit(running.start("app2", { enabled: true }))).session?.attributes.n,
    ).toBe(1);
  });

  it("keeps to the bounds of its memory", async () => {
    const { manager } = start({ mode: "sticky", enabled: false, maxLocalSessions: 3 } as ClusterOptions);
    const clients = Array.from({ length: 5 }, () => testClient());
    for (const client of clients) {
      await client.visit(manager, (attributes) => {
        attributes.n = 1;
      });
    }

    expect(manager.stats().localSessions).toBe(3);
    expect((await clients[4]!.visit(manager)).session?.isNew).toBe(false);
    expect((await clients[0]!.visit(manager)).session?.isNew).toBe(true);
  });
});

describe("reconfigure({ enabled })", () => {
  it("sticky: sessions in memory go on, also those that a node has, and nothing more is stored", async () => {
    const { running, manager } = start({ mode: "sticky" });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });

    await manager.reconfigure({ enabled: false });
    await settle(running);
    for (const node of Object.values(running.nodes)) node.forgetCalls();
    const { result } = await client.visit(manager, (attributes) => {
      attributes.n = 2;
    });
    await running.clock.turn(60_000);

    expect(result.outcome).toBe("kept");
    expect((await client.visit(manager)).session?.attributes.n).toBe(2);
    expect(callsOf(running)).toEqual([]);
    expect(partsOf(client.cookie).hint).toMatch(/^n[12]$/);
  });

  it("sticky: what nodes lost or missed meanwhile is on them again", async () => {
    const { running, manager } = start({ mode: "sticky" });
    const [changed, unchanged] = [testClient(), testClient()];
    for (const client of [changed, unchanged]) {
      await client.visit(manager, (attributes) => {
        attributes.n = 1;
      });
    }
    await manager.reconfigure({ enabled: false });
    await changed.visit(manager, (attributes) => {
      attributes.n = 2;
    });
    for (const node of Object.values(running.nodes)) node.restartAs(memoryStorage({ clock: running.clock }));

    await manager.reconfigure({ enabled: true });
    await running.clock.turn(10);

    const other = running.start("app2", { enabled: true });
    expect((await testClient(changed.cookie).visit(other)).session?.attributes.n).toBe(2);
    expect((await testClient(unchanged.cookie).visit(other)).session?.attributes.n).toBe(1);
  });

  it("non-sticky: a request that is open is saved, and its session is there again when all is enabled", async () => {
    const { running, manager } = start({ mode: "non-sticky" });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    const open = await client.open(manager);

    const disabling = manager.reconfigure({ enabled: false });
    await settle(running);
    open.session!.attributes.n = 2;
    expect((await client.finish(open)).result.outcome).toBe("stored");
    await disabling;
    await running.clock.turn(200);
    for (const node of Object.values(running.nodes)) node.forgetCalls();
    expect((await testClient(client.cookie).visit(manager)).session?.isNew).toBe(true);
    expect(callsOf(running)).toEqual([]);

    await manager.reconfigure({ enabled: true });
    expect((await client.visit(manager)).session?.attributes.n).toBe(2);
  });

  it("non-sticky: waits for open requests no longer than closeTimeoutMs", async () => {
    const { running, manager } = start({ mode: "non-sticky", closeTimeoutMs: 3000 });
    const stream = await testClient().open(manager);
    let isDone = false;
    const disabling = manager.reconfigure({ enabled: false }).then(() => {
      isDone = true;
    });

    await running.clock.turn(2900);
    expect(isDone).toBe(false);
    await running.clock.turn(200);
    await disabling;
    await stream.end();
  });

  it("does not go together with another mode", async () => {
    const { manager } = start({ mode: "non-sticky" });
    const change = { mode: "sticky", route: "app1", enabled: false } as const;
    await expect(manager.reconfigure(change)).rejects.toThrow("MSM_ERR_OPTION");
    await manager.reconfigure({ enabled: false });
    await expect(manager.reconfigure({ mode: "sticky", route: "app1" })).rejects.toThrow("enabled: true");
    await manager.reconfigure({ enabled: false });
    await manager.reconfigure({ enabled: true });
    await manager.reconfigure({ mode: "sticky", route: "app1" });
    expect(manager.health().status).toBe("ok");
  });

  it("takes other nodes while nothing is stored", async () => {
    const { running, manager } = start({ mode: "sticky", enabled: false, nodeIds: ["n1", "n2"] });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    await manager.reconfigure({ nodes: [{ id: "n2", storage: running.nodes.n2! }] });
    expect(manager.health().nodes.map(({ id, state }) => `${id} ${state}`)).toEqual(["n2 off"]);
    await manager.reconfigure({ enabled: true });
    await settle(running);
    await client.visit(manager);
    expect(partsOf(client.cookie).hint).toBe("n2");
    expect(running.nodes.n1!.calls).toEqual([]);
  });
});

for (const { kind, skip, reason } of nodeKinds) {
  describe.skipIf(skip)(`enabled, on ${kind}${reason}`, () => {
    it.each(modes)(
      "original 98, %s: no connection is tried while it is false; then sessions are stored, and expire there",
      async (mode) => {
        const { server, connections, port } = await countingServer();
        const manager = startProcess([], {
          ...routeIn(mode),
          mode,
          enabled: false,
          idleTimeoutMs: 2000,
          nodes: kind === "redis" ? `redis://127.0.0.1:${port}` : `127.0.0.1:${port}`,
        });
        const client = testClient();
        const { session } = await client.visit(manager, (attributes) => {
          attributes.n = 1;
        });
        await client.visit(manager);
        expect(connections()).toBe(0);
        server.close();

        const nodes = await startNodes(kind, 1);
        await manager.reconfigure({ enabled: true, nodes: nodes.map(({ id, url }) => ({ id, url })) });
        await waitUntil("it is stored", async () => (await versionOn(nodes[0]!, session!.id)) === 1);
        await waitUntil(
          "it has expired",
          async () => (await versionOn(nodes[0]!, session!.id)) === undefined,
        );
        expect((await client.visit(manager)).session?.isNew).toBe(true);
      },
    );

    it("sticky: is switched under traffic, and no request fails", async () => {
      const nodes = await startNodes(kind, 2);
      const manager = startProcess(nodes, { mode: "sticky" });
      const traffic = startTraffic({ app1: manager }, { balancing: "by route" });
      await traffic.goOn(5);
      for (const enabled of [false, true, false, true]) {
        await manager.reconfigure({ enabled });
        await traffic.goOn(5);
      }
      expect(await traffic.end()).toEqual([]);

      await waitUntil("all is stored", () => manager.stats().unsavedSessions === 0);
    });

    it("non-sticky: sessions that begin while it is off go on when it is on, and no request fails", async () => {
      const nodes = await startNodes(kind, 2);
      const manager = startProcess(nodes, { mode: "non-sticky", enabled: false });
      const traffic = startTraffic({ app1: manager }, { balancing: "in turn" });
      await traffic.goOn(5);
      await manager.reconfigure({ enabled: true });
      await traffic.goOn(5);
      expect(await traffic.end()).toEqual([]);
      expect(manager.stats()).toMatchObject({ localSessions: 0, unsavedSessions: 0 });
    });
  });
}

const routeIn = (mode: Mode) => (mode === "sticky" ? { route: "app1" } : {});

/** A server that nobody should connect to. */
async function countingServer(): Promise<{ server: Server; port: number; connections: () => number }> {
  let connections = 0;
  const server = createServer((socket: Socket) => {
    connections++;
    socket.destroy();
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return { server, port, connections: () => connections };
}
