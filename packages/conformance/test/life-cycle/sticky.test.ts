import { memoryStorage } from "@msm/core";
import { afterEach, describe, expect, it } from "vitest";
import { type Cluster, type ClusterOptions, cluster, testClient } from "../../src/index.js";

let running: Cluster | undefined;
const start = (options: ClusterOptions = {}) => {
  running = cluster({ mode: "sticky", ...options } as ClusterOptions);
  return running;
};
afterEach(async () => {
  await running?.close();
  running = undefined;
});

const increment = (attributes: { n?: number }) => {
  attributes.n = (attributes.n ?? 0) + 1;
};

/** A session of one increment, its owner, and the nodes by what they are to it. */
async function holding(options: ClusterOptions = {}) {
  const running = start(options);
  const owner = running.start("app1");
  const client = testClient();
  await client.visit(owner, increment);
  const hint = client.cookie!.split("-")[1]!;
  const others = Object.keys(running.nodes).filter((id) => id !== hint);
  return {
    ...running,
    owner,
    client,
    hint,
    others,
    primary: running.nodes[hint]!,
    secondary: running.nodes[others[0]!]!,
  };
}

describe("sticky: a request", () => {
  it("costs no trip to read and one to write", async () => {
    const { owner, client, takeCounts } = await holding();

    expect(takeCounts(), "created").toEqual({ save: 1 });
    await client.visit(owner, (attributes) => attributes.n);
    expect(takeCounts(), "read").toEqual({});
    await client.visit(owner, increment);
    expect(takeCounts(), "written").toEqual({ save: 1 });
    await testClient().visit(owner);
    await testClient(`${"0".repeat(48)}-n1-${"A".repeat(43)}.app1`).visit(owner);
    expect(takeCounts(), "forged cookie, or none and nothing written").toEqual({});
  });

  it("carries its process' route in the cookie", async () => {
    const { client } = await holding();

    expect(client.cookie).toMatch(/^[0-9a-f]{48}-n[12]-[\w-]{43}\.app1$/);
  });

  it("that comes to another process takes the session over, and its cookie says so", async () => {
    const { start: process, client, takeCounts } = await holding();
    const other = process("app2");
    takeCounts();

    const { session, setCookie } = await client.visit(other, increment);

    expect(session?.attributes.n).toBe(2);
    expect(setCookie).toContain(".app2;");
    expect(takeCounts()).toEqual({ load: 1, save: 2 }); // read, own, and the increment
    expect(other.stats().events.takenOver).toBe(1);
  });

  it("of many at once that come to another process take the session over once", async () => {
    const { start: process, client, takeCounts } = await holding();
    const other = process("app2");
    takeCounts();

    await Promise.all(Array.from({ length: 10 }, () => testClient(client.cookie).visit(other, increment)));

    expect(takeCounts().load).toBe(1);
    expect((await client.visit(other)).session?.attributes.n).toBe(11);
  });

  it("finds its session when its process was restarted", async () => {
    const { start: process, owner, client } = await holding();
    await owner.close();

    const { session, setCookie } = await client.visit(process("app1"), increment);

    expect(session?.attributes.n).toBe(2);
    expect(setCookie).toBeUndefined();
  });
});

describe("sticky: requests at the same time", () => {
  it("share one session in the owning process: no increment is lost", async () => {
    const { owner, client } = await holding();

    const visits = await Promise.all(
      Array.from({ length: 32 }, () =>
        testClient(client.cookie).visit(owner, async (attributes) => {
          await Promise.resolve();
          increment(attributes);
          await Promise.resolve();
        }),
      ),
    );

    expect(visits.every(({ result }) => result.outcome === "stored" || result.outcome === "unneeded")).toBe(
      true,
    );
    expect((await client.visit(owner)).session?.attributes.n).toBe(33);
  });

  it("of a burst cost two saves, and all of them wait for the one with their change", async () => {
    const { owner, client, takeCounts, start: process } = await holding();
    takeCounts();

    await Promise.all(Array.from({ length: 20 }, () => testClient(client.cookie).visit(owner, increment)));

    expect(takeCounts().save).toBeLessThanOrEqual(3);
    expect((await client.visit(process("app2"))).session?.attributes.n).toBe(21);
  });

  it("in two processes, one of them the former owner, lose nothing of what the other did", async () => {
    const { start: process, owner, client } = await holding();
    const other = process("app2");
    const atOwner = testClient(client.cookie);
    await client.visit(other, (attributes) => {
      attributes.other = 1;
    });

    await atOwner.visit(owner, (attributes) => {
      attributes.former = 1;
    });

    expect({ ...(await client.visit(owner)).session?.attributes }).toEqual({ n: 1, other: 1, former: 1 });
  });

  it("that flip between two processes lose no increment, wherever they go", async () => {
    const { start: process, owner, client } = await holding();
    const other = process("app2");

    for (let flip = 0; flip < 100; flip++) await client.visit(flip % 2 === 0 ? other : owner, increment);

    expect((await client.visit(owner)).session?.attributes.n).toBe(101);
  });
});

describe("sticky: a node fails", () => {
  it("and the next save goes to the next node, with a new hint in the cookie", async () => {
    const { owner, client, primary, others, start: process } = await holding();

    primary.goDown();
    const { result, setCookie } = await client.visit(owner, increment);

    expect(result.outcome).toBe("stored");
    expect(setCookie).toContain(`-${others[0]}-`);
    expect((await client.visit(process("app2"))).session?.attributes.n).toBe(2);
  });

  it("and sessions that nobody uses move to the next node in the background", async () => {
    const { owner, client, primary, clock, start: process } = await holding();

    primary.goDown();
    await clock.turn(3000);
    expect(owner.health().nodes.some(({ state }) => state === "down")).toBe(true);
    await owner.close();

    expect((await client.visit(process("app2"), increment)).session?.attributes.n).toBe(2);
  });

  it("and is back empty: it gets its sessions again", async () => {
    const { owner, client, primary, clock, start: process } = await holding({ nodeIds: ["n1"] });
    primary.goDown();
    await clock.turn(3000);
    primary.restartAs(memoryStorage({ clock }));
    await clock.turn(3000);
    await owner.close();

    expect((await client.visit(process("app2"))).session?.attributes.n).toBe(1);
  });

  it("and restarts empty before anybody noticed: the next save writes the session again", async () => {
    const { owner, client, primary, clock, start: process } = await holding();
    primary.restartAs(memoryStorage({ clock }));

    expect((await client.visit(owner, increment)).result.outcome).toBe("stored");

    expect((await client.visit(process("app2"))).session?.attributes.n).toBe(2);
  });

  it("and restarts empty without being missed: it gets its sessions again before the owner dies", async () => {
    const { kill, owner, client, primary, clock, start: process } = await holding();
    await clock.turn(1000);
    primary.restartAs(memoryStorage({ clock }));
    await clock.turn(1000);
    expect(owner.stats().events.nodeReconnected).toBe(1);

    kill(owner);

    expect((await client.visit(process("app2"))).session?.attributes.n).toBe(1);
  });

  it("with all the others: sessions live on in memory, and are pushed when a node is back", async () => {
    const { owner, client, primary, secondary, clock, start: process } = await holding();
    primary.goDown();
    secondary.goDown();
    await clock.turn(3000);

    const { result, session } = await client.visit(owner, increment);
    expect(result.outcome).toBe("kept");
    expect(session?.attributes.n).toBe(2);
    expect(owner.stats().unsavedSessions).toBe(1);
    await testClient().visit(owner, increment);

    secondary.comeBack();
    await clock.turn(5000);

    expect(owner.stats().unsavedSessions).toBe(0);
    expect((await client.visit(process("app2"))).session?.attributes.n).toBe(2);
  });

  it("with all the others, and a session that is not here is not taken for absent", async () => {
    const { client, primary, secondary, clock, start: process } = await holding();
    const other = process("app2");
    primary.goDown();
    secondary.goDown();
    await clock.turn(3000);

    await expect(client.visit(other)).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
  });

  it("to answer in time while the nodes are well: the client is not told that it worked", async () => {
    const { owner, client, primary, secondary } = await holding();
    primary.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
    secondary.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");

    const { result } = await client.visit(owner, increment);

    expect(result.outcome).toBe("stored"); // asked once more, they took it
    expect(owner.stats().events.kept).toBe(0);
  });

  it("and a write that is applied after it timed out does not undo what came later", async () => {
    const { owner, client, primary, clock, start: process } = await holding();
    primary.holdWrites();
    await client.visit(owner, increment);
    primary.comeBack();
    await client.visit(owner, increment);

    await primary.applyHeldWrites();
    await clock.turn(3000);

    expect((await client.visit(owner, increment)).session?.attributes.n).toBe(4);
    expect((await client.visit(process("app2"))).session?.attributes.n).toBe(4);
  });
});

describe("sticky: a session", () => {
  it("that is destroyed is gone in every process, and its old cookie is worth nothing", async () => {
    const { owner, client, start: process } = await holding();
    const replay = testClient(client.cookie);

    const { setCookie } = await client.visit(owner, (_, session) => session.destroy());

    expect(setCookie).toMatch(/^sid=; Max-Age=0/);
    expect((await replay.visit(owner)).session?.isNew).toBe(true);
    expect((await replay.visit(process("app2"))).session?.isNew).toBe(true);
  });

  it("is not saved by a request that outlives its end", async () => {
    const { owner, client, start: process } = await holding();
    const replay = testClient(client.cookie);
    const slow = await replay.open(owner);
    slow.session!.attributes.n = 5;

    await client.visit(owner, (_, session) => session.destroy());

    expect((await replay.finish(slow)).result.outcome).toBe("discarded");
    expect((await replay.visit(process("app2"))).session?.isNew).toBe(true);
  });

  it("that is destroyed in another process cannot be written again by its former owner", async () => {
    const { owner, client, start: process } = await holding();
    const other = process("app2");
    const stale = testClient(client.cookie);
    await client.visit(other, (_, session) => session.destroy());

    const { result } = await stale.visit(owner, increment);

    expect(result.outcome).toBe("discarded");
    expect((await stale.visit(other)).session?.isNew).toBe(true);
  });

  it("that is only read is never without its backup", async () => {
    const { owner, client, clock, start: process } = await holding({ idleTimeoutMs: 10_000 });
    for (let i = 0; i < 20; i++) {
      await clock.turn(3000);
      await client.visit(owner);
    }
    await owner.close();

    expect((await client.visit(process("app2"))).session?.attributes.n).toBe(1);
  });

  it("expires when nobody uses it, in memory as on the nodes", async () => {
    const { owner, client, clock } = await holding({ idleTimeoutMs: 10_000 });

    await clock.turn(10_001);

    expect(owner.stats().localSessions).toBe(0);
    expect((await client.visit(owner)).session?.isNew).toBe(true);
  });

  it("leaves memory when there are too many, and comes back from its node", async () => {
    const { owner, client } = await holding({ maxLocalSessions: 10 } as ClusterOptions);
    for (let i = 0; i < 30; i++) await testClient().visit(owner, increment);

    expect(owner.stats().localSessions).toBe(10);
    expect((await client.visit(owner)).session?.attributes.n).toBe(1);
  });

  it("keeps nothing in memory but what another process would read", async () => {
    const { owner, client } = await holding();
    await client.visit(owner, (attributes) => {
      attributes.when = new Date(0);
    });

    expect((await client.visit(owner)).session?.attributes.when).toBe("1970-01-01T00:00:00.000Z");
  });

  it("does not share objects with the session it became by regenerate()", async () => {
    const { owner, client } = await holding();
    await client.visit(owner, (attributes) => {
      attributes.cart = ["a"];
    });
    const exchange = await client.open(owner);
    const before = exchange.session!.attributes.cart;

    await exchange.session!.regenerate({ keep: "all" });
    before.push("b");
    await client.finish(exchange);

    expect((await client.visit(owner)).session?.attributes.cart).toEqual(["a"]);
  });
});

describe("sticky with asynchronous backup", () => {
  const async = { backup: "async" } as ClusterOptions;

  it("answers before the session is saved, and saves it all the same", async () => {
    const { owner, client, start: process } = await holding(async);

    await client.visit(owner, increment);
    await owner.close();

    expect((await client.visit(process("app2"))).session?.attributes.n).toBe(2);
  });

  it("saves the newest state of a burst, not every one", async () => {
    const { owner, client, takeCounts } = await holding(async);
    await owner.close();
    takeCounts();
    const again = running!.start("app1");

    for (let i = 0; i < 50; i++) void client.visit(again, increment);
    await again.close();

    expect(takeCounts().save).toBeLessThan(10);
  });

  it("lets responses wait once the oldest unsaved change is older than maxBackupLagMs", async () => {
    const { owner, client, primary, secondary, clock } = await holding(async);
    primary.goDown();
    secondary.goDown();
    await client.visit(owner, increment);
    await clock.turn(5000);

    expect((await client.visit(owner, increment)).result.outcome).toBe("kept");
  });
});
