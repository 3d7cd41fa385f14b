import { createSessionManager, type SessionManager } from "@msm/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { type Cluster, type ClusterOptions, cluster, testClient, waitUntil } from "../../src/index.js";
import { modes, nodeKinds, nodeOf, partsOf, startNodes, startProcess } from "./real-nodes.js";

function start(options: ClusterOptions = {}): { running: Cluster; manager: SessionManager } {
  const running = cluster(options);
  onTestFinished(() => running.close());
  return { running, manager: running.start("app1") };
}

const nodeIn = (manager: SessionManager, id: string) =>
  manager.health().nodes.find((node) => node.id === id)!;

describe("health() of a node", () => {
  it("says what it is, that it is up, and for how long", async () => {
    const { running, manager } = start({ failoverNodes: "n2" });
    await running.clock.turn(700);

    expect(manager.health()).toEqual({
      status: "ok",
      nodes: [
        {
          id: "n1",
          kind: "memory",
          role: "ordinary",
          state: "up",
          forMs: 700,
          lastError: undefined,
          missedRecords: 0,
        },
        {
          id: "n2",
          kind: "memory",
          role: "failover",
          state: "up",
          forMs: 700,
          lastError: undefined,
          missedRecords: 0,
        },
      ],
    });
  });

  it("goes from up to down, to suspect, to up, and tells the last trouble by its code", async () => {
    const { running, manager } = start({ idleTimeoutMs: 20_000 });
    const { clock, nodes } = running;
    const toldMs: Record<string, number> = {};
    for (const event of ["nodeDown", "nodeUp"] as const) {
      manager.on(event, () => {
        toldMs[event] = clock.monotonicMs();
      });
    }
    const sinceMs = (event: "nodeDown" | "nodeUp") => clock.monotonicMs() - toldMs[event]!;
    const lastError = "MSM_ERR_STORAGE_UNAVAILABLE";

    nodes.n1!.goDown();
    await clock.turn(3000);
    expect(nodeIn(manager, "n1")).toMatchObject({ state: "down", forMs: sinceMs("nodeDown"), lastError });

    nodes.n1!.comeBack();
    await clock.turn(2000);
    expect(nodeIn(manager, "n1")).toMatchObject({ state: "suspect", forMs: sinceMs("nodeUp") });
    await clock.turn(20_000);
    const forMs = sinceMs("nodeUp") - 20_000;
    expect(nodeIn(manager, "n1")).toMatchObject({ state: "up", forMs, lastError });
  });

  it("counts the records that wait for it", async () => {
    const { running, manager } = start();
    const clients = Array.from({ length: 6 }, () => testClient());
    for (const client of clients) {
      await client.visit(manager, (attributes) => {
        attributes.n = 1;
      });
    }
    running.nodes.n1!.goDown();
    await running.clock.turn(2000);
    for (const client of clients) {
      await client.visit(manager, (attributes) => {
        attributes.n = 2;
      });
    }

    expect(nodeIn(manager, "n1").missedRecords).toBe(6);
    expect(nodeIn(manager, "n2").missedRecords).toBe(0);
    running.nodes.n1!.comeBack();
    await running.clock.turn(3000);
    expect(nodeIn(manager, "n1").missedRecords).toBe(0);
  });

  it("tells neither addresses nor passwords", () => {
    const manager = createSessionManager({
      secret: "the secret of these tests, of 32 bytes and more",
      nodes: "n1:redis://user:opensesame@127.0.0.1:1,n2:memcached://user:opensesame@127.0.0.1:2",
    });
    onTestFinished(() => manager.close());

    expect(JSON.stringify(manager.health())).not.toMatch(/opensesame|127\.0\.0\.1/);
    expect(manager.health().nodes.map(({ kind }) => kind)).toEqual(["redis", "memcached"]);
  });
});

describe.each(modes)("the status in health(), %s", (mode) => {
  it("is ok, degraded while a node is missing, and ok again", async () => {
    const { running, manager } = start({ mode });
    expect(manager.health().status).toBe("ok");
    running.nodes.n2!.goDown();
    await running.clock.turn(3000);
    expect(manager.health().status).toBe("degraded");
    running.nodes.n2!.comeBack();
    await running.clock.turn(3000);
    expect(manager.health().status).toBe("ok");
  });

  it(`is ${mode === "sticky" ? "degraded" : "down"} where no node can be reached`, async () => {
    const { running, manager } = start({ mode });
    for (const node of Object.values(running.nodes)) node.goDown();
    await running.clock.turn(3000);
    expect(manager.health().status).toBe(mode === "sticky" ? "degraded" : "down");
  });

  it("is down from the moment at which it is closed", async () => {
    const { running, manager } = start({ mode });
    const open = await testClient().open(manager);
    const closing = manager.close();
    expect(manager.health().status).toBe("down");
    await open.end();
    await running.clock.turn(1000);
    await closing;
    expect(manager.health().status).toBe("down");
  });

  it("does not mind a node that is leaving", async () => {
    const { running, manager } = start({ mode });
    await manager.reconfigure({ nodes: [{ id: "n3", storage: running.nodes.n2! }] });
    running.nodes.n1!.goDown();
    await running.clock.turn(3000);
    const { status, nodes } = manager.health();
    expect(status).toBe("ok");
    expect(nodes.map(({ id, state }) => `${id} ${state}`)).toEqual([
      "n3 suspect",
      "n1 leaving",
      "n2 leaving",
    ]);
  });
});

for (const { kind, skip, reason } of nodeKinds) {
  it.skipIf(skip)(
    `health() tells of a server that is killed and comes back, on ${kind}${reason}`,
    async () => {
      const nodes = await startNodes(kind, 2);
      const manager = startProcess(nodes);
      const client = testClient();
      await client.visit(manager, (attributes) => {
        attributes.n = 1;
      });
      const node = nodeOf(nodes, partsOf(client.cookie).hint);
      expect(manager.health().status).toBe("ok");

      await node.server.kill();
      await waitUntil("it is missed", () => nodeIn(manager, node.id).state === "down");
      expect(manager.health().status).toBe("degraded");
      expect(nodeIn(manager, node.id)).toMatchObject({
        kind,
        lastError: expect.stringMatching(/^MSM_ERR_STORAGE_/),
      });
      await client.visit(manager, (attributes) => {
        attributes.n = 2;
      });
      expect(nodeIn(manager, node.id).missedRecords).toBe(1);

      await node.server.restart();
      await waitUntil("it is back", () => nodeIn(manager, node.id).state === "suspect");
      await waitUntil("it has what it missed", () => nodeIn(manager, node.id).missedRecords === 0);
      expect(manager.health().status).toBe("ok");
    },
  );
}
