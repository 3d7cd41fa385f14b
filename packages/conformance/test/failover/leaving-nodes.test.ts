import {
  createSessionManager,
  isTombstone,
  memoryStorage,
  type NodeHealth,
  type NodeOptions,
  type SessionManager,
  type SessionManagerOptions,
} from "@msm/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { type FaultyStorage, faulty, type TestClock, testClient, testClock } from "../../src/index.js";
import { keyOf, modes, partsOf } from "./real-nodes.js";

interface Stage {
  readonly clock: TestClock;
  readonly storages: Readonly<Record<string, FaultyStorage>>;
  /** Which storages were closed. */
  readonly closed: readonly string[];
  nodes(...ids: string[]): NodeOptions[];
  start(ids: readonly string[], options?: Partial<SessionManagerOptions>): SessionManager;
}

function stage(): Stage {
  const clock = testClock();
  const closed: string[] = [];
  const storages = Object.fromEntries(
    ["n1", "n2", "n3"].map((id) => {
      const storage = faulty(memoryStorage({ clock }));
      storage.close = async () => void closed.push(id);
      return [id, storage];
    }),
  );
  const nodes = (...ids: string[]) => ids.map((id) => ({ id, storage: storages[id]! }));
  return {
    clock,
    storages,
    closed,
    nodes,
    start(ids, options = {}) {
      const sticky = options.mode === "sticky" ? { route: "app1" } : {};
      const manager = createSessionManager({
        secret: "the secret of these tests, of 32 bytes and more",
        clock,
        nodes: nodes(...ids),
        ...sticky,
        ...options,
      } as SessionManagerOptions);
      onTestFinished(async () => {
        for (const storage of Object.values(storages)) storage.comeBack();
        const isClosed = manager.close();
        await clock.turn(60_000);
        await isClosed;
      });
      return manager;
    },
  };
}

const stateOf = (manager: SessionManager, id: string): NodeHealth["state"] | undefined =>
  manager.health().nodes.find((node) => node.id === id)?.state;

/** What a storage has of a session. */
async function recordOn(storage: FaultyStorage, id: string) {
  const loaded = await storage.load(keyOf(id));
  return loaded.kind === "found" ? loaded.record : undefined;
}

describe.each(modes)("a node that reconfigure() takes out, %s", (mode) => {
  it("is read for sessions that only it has, and which move to a member with their next use", async () => {
    const { storages, nodes, start } = stage();
    const owner = start(["n1"], { mode });
    const client = testClient();
    const { session } = await client.visit(owner, (attributes) => {
      attributes.n = 1;
    });
    // The one that is reconfigured has nothing of it in memory.
    const manager = start(["n1"], { mode });

    await manager.reconfigure({ nodes: nodes("n2") });
    expect(manager.health().nodes.map(({ id, state }) => `${id} ${state}`)).toEqual([
      "n2 suspect",
      "n1 leaving",
    ]);
    const found = await client.visit(manager, (attributes) => {
      attributes.m = 2;
    });

    expect(found.session?.id).toBe(session!.id);
    expect(partsOf(client.cookie).hint).toBe("n2");
    storages.n1!.goDown();
    expect({ ...(await client.visit(manager)).session?.attributes }).toEqual({ n: 1, m: 2 });
  });

  it("counts as empty where it cannot be reached", async () => {
    const { storages, nodes, start } = stage();
    const client = testClient();
    await client.visit(start(["n1"], { mode }), (attributes) => {
      attributes.n = 1;
    });
    const manager = start(["n1"], { mode });

    await manager.reconfigure({ nodes: nodes("n2") });
    storages.n1!.goDown();
    const { session } = await client.visit(manager);

    expect(session?.isNew).toBe(true);
    expect(manager.stats().events.nodeDown).toBe(0);
  });

  it("does not count as empty where it merely misses a question, or answers none but the probe's", async () => {
    const { storages, nodes, start } = stage();
    const client = testClient();
    await client.visit(start(["n1"], { mode }), (attributes) => {
      attributes.n = 1;
    });
    const manager = start(["n1"], { mode });
    await manager.reconfigure({ nodes: nodes("n2") });

    storages.n1!.hangOn("load");
    await expect(client.visit(manager)).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
    storages.n1!.comeBack();
    storages.n1!.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");

    expect((await client.visit(manager)).session?.attributes.n).toBe(1);
  });

  it("gets the end of sessions, also later where it does not answer at the time", async () => {
    const { clock, storages, nodes, start } = stage();
    const client = testClient();
    const manager = start(["n1"], { mode });
    const { session } = await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    await manager.reconfigure({ nodes: nodes("n2") });
    await client.visit(manager, (attributes) => {
      attributes.n = 2;
    });
    storages.n1!.goDown();
    await clock.turn(2000);

    await client.visit(manager, (_, own) => own.destroy());
    expect(await recordOn(storages.n2!, session!.id)).toSatisfy(isTombstone);
    storages.n1!.comeBack();
    await clock.turn(5000);

    expect(await recordOn(storages.n1!, session!.id)).toSatisfy(isTombstone);
    expect(manager.health().nodes.map(({ missedRecords }) => missedRecords)).toEqual([0, 0]);
  });

  it("is let go of when no record there can be alive", async () => {
    const { clock, closed, nodes, start } = stage();
    const manager = start(["n1", "n2"], { mode, idleTimeoutMs: 50_000 });
    const left: unknown[] = [];
    manager.on("nodeLeft", (detail) => left.push(detail));

    await manager.reconfigure({ nodes: nodes("n2") });
    await clock.turn(49_000);
    expect(stateOf(manager, "n1")).toBe("leaving");
    await clock.turn(3000);

    expect(manager.health().nodes.map(({ id }) => id)).toEqual(["n2"]);
    expect(left).toEqual([{ node: "n1", reason: "expired" }]);
    expect(closed).toEqual(["n1"]);
  });

  it("is let go of when it has not answered for a minute", async () => {
    const { clock, storages, closed, nodes, start } = stage();
    const manager = start(["n1", "n2"], { mode });
    const left: unknown[] = [];
    manager.on("nodeLeft", (detail) => left.push(detail));

    await manager.reconfigure({ nodes: nodes("n2") });
    storages.n1!.goDown();
    await clock.turn(50_000);
    expect(stateOf(manager, "n1")).toBe("leaving");
    await clock.turn(15_000);

    expect(left).toEqual([{ node: "n1", reason: "silent" }]);
    expect(closed).toEqual(["n1"]);
    expect(manager.stats().events).toMatchObject({ nodeDown: 0, nodeUp: 0 });
  });

  it("is not believed blindly when it is a member again", async () => {
    const { nodes, start } = stage();
    const manager = start(["n1", "n2"], { mode });
    const client = testClient();
    for (let tries = 0; client.cookie === undefined || partsOf(client.cookie).hint !== "n1"; tries++) {
      client.cookie = undefined;
      await client.visit(manager, (attributes) => {
        attributes.n = tries;
      });
    }
    const old = client.cookie;
    await manager.reconfigure({ nodes: nodes("n2", "n3") });
    await client.visit(manager, (attributes) => {
      attributes.n = "new";
    });
    await client.visit(manager, (attributes) => {
      attributes.n = "newer";
    });

    await manager.reconfigure({ nodes: nodes("n1", "n2") });

    expect(stateOf(manager, "n1")).toBe("suspect");
    expect((await testClient(old).visit(start(["n1", "n2"], { mode }))).session).toBeDefined();
    expect((await testClient(old).visit(manager)).session?.attributes.n).toBe("newer");
  });

  it("leaves no warning of another ring behind", async () => {
    const { nodes, start } = stage();
    const manager = start(["n1", "n2"], { mode });
    const clients = Array.from({ length: 5 }, () => testClient());
    for (const ring of [["n2"], ["n3", "n2"], ["n1", "n2"]]) {
      for (const client of clients) {
        await client.visit(manager, (attributes) => {
          attributes.n = ring.length;
        });
      }
      await manager.reconfigure({ nodes: nodes(...ring) });
    }
    for (const client of clients) await client.visit(manager, (attributes) => attributes.n);

    expect(manager.stats().events.warning).toBe(0);
  });
});

describe("nodes that reconfigure() brings in", () => {
  it("take sessions from then on; one that is down is a member that is down, and nobody waits for it", async () => {
    const { clock, storages, nodes, start } = stage();
    const manager = start(["n1"]);
    storages.n3!.goDown();

    await manager.reconfigure({ nodes: nodes("n2", "n3") });
    expect(stateOf(manager, "n2")).toBe("suspect");
    expect(stateOf(manager, "n3")).toBe("down");
    for (let count = 0; count < 10; count++) {
      const client = testClient();
      const { result } = await client.visit(manager, (attributes) => {
        attributes.n = count;
      });
      expect(result.outcome).toBe("stored");
      expect(partsOf(client.cookie).hint).toBe("n2");
    }

    storages.n3!.comeBack();
    await clock.turn(2000);
    expect(stateOf(manager, "n3")).toBe("suspect");
  });

  it("get the backups of sticky sessions at once, without a request", async () => {
    const { clock, storages, nodes, start } = stage();
    const manager = start(["n1"], { mode: "sticky" });
    const clients = Array.from({ length: 40 }, () => testClient());
    const ids: string[] = [];
    for (const client of clients) {
      const { session } = await client.visit(manager, (attributes) => {
        attributes.n = 1;
      });
      ids.push(session!.id);
    }

    await manager.reconfigure({ nodes: [{ id: "n1", storage: storages.n2! }] });
    await clock.turn(100);
    storages.n1!.goDown();

    for (const id of ids) expect(await recordOn(storages.n2!, id)).toBeDefined();
    const other = start([], { mode: "sticky", route: "app2", nodes: [{ id: "n1", storage: storages.n2! }] });
    expect((await clients[0]!.visit(other)).session?.attributes.n).toBe(1);
    expect(nodes("n1")).toHaveLength(1);
  });

  it("that were members already keep what is known of them", async () => {
    const { clock, storages, nodes, start } = stage();
    const manager = start(["n1", "n2"]);
    storages.n1!.goDown();
    await clock.turn(3000);
    const { forMs, lastError } = manager.health().nodes[0]!;
    expect(forMs).toBeGreaterThan(0);

    await manager.reconfigure({ nodes: nodes("n2", "n1", "n3"), failoverNodes: "n2" });

    expect(manager.health().nodes.map(({ id, role, state }) => `${id} ${role} ${state}`)).toEqual([
      "n2 failover up",
      "n1 ordinary down",
      "n3 ordinary suspect",
    ]);
    expect(manager.health().nodes[1]).toMatchObject({ forMs, lastError });
  });
});
