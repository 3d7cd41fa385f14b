import type { SessionExchange, SessionManager } from "@msm/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { type Cluster, type ClusterOptions, cluster, testClient } from "../../src/index.js";

function start(options: ClusterOptions): { running: Cluster; manager: SessionManager } {
  const running = cluster(options);
  onTestFinished(() => running.close());
  return { running, manager: running.start("app1") };
}

/** What a new visitor of the process would read of a session. */
async function seenBy(manager: SessionManager, cookie: string | undefined) {
  const { session } = await testClient(cookie).visit(manager);
  return { ...session?.attributes };
}

const toSticky = { mode: "sticky", route: "app1" } as const;
const toNonSticky = { mode: "non-sticky" } as const;

describe("reconfigure({ mode }) while exchanges are open", () => {
  it("lets an exchange end in non-sticky mode; what it saves is seen in sticky mode", async () => {
    const { manager } = start({ mode: "non-sticky" });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    const slow = await client.open(manager);

    await manager.reconfigure(toSticky);
    await client.visit(manager, (attributes) => {
      attributes.quick = true;
    });
    slow.session!.attributes.slow = true;
    const { cookie } = client;
    const { result, setCookie } = await client.finish(slow);

    expect(result.outcome).toBe("stored");
    expect(setCookie).toBeUndefined();
    expect(cookie).toMatch(/\.app1$/);
    expect(await seenBy(manager, cookie)).toEqual({ n: 1, quick: true, slow: true });
  });

  it("lets an exchange end in sticky mode; what it saves is seen in non-sticky mode", async () => {
    const { running, manager } = start({ mode: "sticky", backup: "async" } as ClusterOptions);
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    const slow = await client.open(manager);

    await manager.reconfigure(toNonSticky);
    for (const node of Object.values(running.nodes)) node.hang();
    slow.session!.attributes.slow = true;
    const { result } = await client.finish(slow);
    for (const node of Object.values(running.nodes)) node.comeBack();

    expect(result.outcome).toBe("stored");
    expect(await seenBy(manager, client.cookie)).toEqual({ n: 1, slow: true });
  });

  it("ends a session in the one mode for the other", async () => {
    const { manager } = start({ mode: "non-sticky" });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    const slow = await client.open(manager);
    await manager.reconfigure(toSticky);
    await client.visit(manager, (attributes) => attributes.n);
    const { cookie } = client;

    await slow.session!.destroy();
    await client.finish(slow);

    expect(await seenBy(manager, cookie)).toEqual({});
  });

  it("goes there and back while a request lasts", async () => {
    const { manager } = start({ mode: "sticky" });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    const slow = await client.open(manager);
    await manager.reconfigure(toNonSticky);
    await client.visit(manager, (attributes) => {
      attributes.between = true;
    });
    const slower = await client.open(manager);
    await manager.reconfigure(toSticky);
    await client.visit(manager, (attributes) => {
      attributes.after = true;
    });
    const { cookie } = client;

    slow.session!.attributes.slow = true;
    expect((await client.finish(slow)).result.outcome).toBe("stored");
    expect(await seenBy(manager, cookie)).toEqual({ n: 1, between: true, after: true, slow: true });
    slower.session!.attributes.slower = true;
    expect((await client.finish(slower)).result.outcome).toBe("stored");
    expect(await seenBy(manager, cookie)).toMatchObject({ slow: true, slower: true });
  });

  it.each([
    ["sticky", "non-sticky"],
    ["non-sticky", "sticky"],
  ] as const)("keeps a session locked for the request that has it, from %s to %s", async (from, to) => {
    const { running, manager } = start({ mode: from, locking: "all" });
    const client = testClient();
    const add = (attributes: { list?: unknown }, item: string) => {
      attributes.list = [...((attributes.list ?? []) as string[]), item];
    };
    await client.visit(manager, (attributes) => add(attributes, "first"));
    const holder = await client.open(manager);

    await manager.reconfigure(to === "sticky" ? toSticky : toNonSticky);
    const other = testClient(client.cookie);
    let isIn = false;
    const visit = other.visit(manager, (attributes) => {
      isIn = true;
      add(attributes, "third");
    });
    await running.clock.turn(100);
    expect(isIn).toBe(false);
    add(holder.session!.attributes, "second");
    const results = [await client.finish(holder)];
    await running.clock.turn(100);
    results.push(await visit);

    expect(results.map(({ result }) => result.outcome)).toEqual(["stored", "stored"]);
    const seen = testClient(other.cookie).visit(manager, (attributes) => attributes.list);
    await running.clock.turn(100);
    expect((await seen).session?.attributes.list).toEqual(["first", "second", "third"]);
    expect(manager.stats().events.conflict).toBe(0);
  });
});

describe('reconfigure({ mode: "non-sticky" })', () => {
  it("puts on the nodes what is in this process alone, before it resolves", async () => {
    const { running, manager } = start({ mode: "sticky" });
    const client = testClient();
    for (const node of Object.values(running.nodes)) node.goDown();
    const visit = client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    await running.clock.turn(10);
    expect((await visit).result.outcome).toBe("kept");
    for (const node of Object.values(running.nodes)) node.comeBack();
    await running.clock.turn(2000);
    await manager.reconfigure(toNonSticky);

    const other = running.start("app2", { mode: "non-sticky" });
    expect(await seenBy(other, client.cookie)).toEqual({ n: 1 });
  });

  it("rejects where no node takes it, and changes nothing", async () => {
    const { running, manager } = start({ mode: "sticky" });
    const client = testClient();
    for (const node of Object.values(running.nodes)) node.goDown();
    const visit = client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    await running.clock.turn(10);
    await visit;

    await expect(manager.reconfigure({ ...toNonSticky, lockTimeoutMs: 5 })).rejects.toMatchObject({
      code: "MSM_ERR_STORAGE_UNAVAILABLE",
    });

    expect((await client.visit(manager)).session?.attributes.n).toBe(1);
    expect(manager.stats()).toMatchObject({ localSessions: 1, events: { reconfigured: 0 } });
    for (const node of Object.values(running.nodes)) node.comeBack();
    await running.clock.turn(2000);
    await manager.reconfigure(toNonSticky);
    expect((await client.visit(manager)).session?.attributes.n).toBe(1);
  });

  it("gives records the time to live that their sessions have left", async () => {
    const idleTimeoutMs = 100_000;
    const { running, manager } = start({ mode: "sticky", idleTimeoutMs });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    await running.clock.turn(40_000);
    await client.visit(manager, (attributes) => attributes.n);

    await manager.reconfigure(toNonSticky);
    await running.clock.turn(80_000);

    expect((await client.visit(manager)).session?.attributes.n).toBe(1);
  });

  it("changes the clients' cookies with their next request", async () => {
    const { manager } = start({ mode: "sticky" });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    expect(client.cookie).toMatch(/\.app1$/);

    await manager.reconfigure(toNonSticky);
    await client.visit(manager);
    expect(client.cookie).not.toMatch(/\.app1$/);

    await manager.reconfigure({ mode: "sticky" }); // its route is known from before
    await client.visit(manager);
    expect(client.cookie).toMatch(/\.app1$/);
    expect((await client.visit(manager)).setCookie).toBeUndefined();
  });

  it("holds nothing of the former mode once its exchanges have ended", async () => {
    const { running, manager } = start({ mode: "sticky" });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    const open: SessionExchange = await client.open(manager);
    await manager.reconfigure(toNonSticky);
    expect(manager.stats().localSessions).toBe(1);

    await client.finish(open);
    await running.clock.turn(0);

    expect(manager.stats().localSessions).toBe(0);
    running.takeCounts();
    await client.visit(manager);
    await running.clock.turn(0);
    expect(running.takeCounts().load).toBe(1);
  });
});
