import { MsmError, memoryStorage } from "@msm/core";
import { afterEach, describe, expect, it } from "vitest";
import { type Cluster, type ClusterOptions, cluster, testClient } from "../../src/index.js";

let running: Cluster | undefined;
const start = (options: ClusterOptions = {}) => {
  running = cluster(options);
  return running;
};
afterEach(async () => {
  await running?.close();
  running = undefined;
});

const increment = (attributes: { n?: number }) => {
  attributes.n = (attributes.n ?? 0) + 1;
};

describe("non-sticky: a request", () => {
  it("serves in any process what another process saved", async () => {
    const { start: process } = start();
    const [one, two] = [process(), process()];
    const client = testClient();

    await client.visit(one, increment);
    await client.visit(two, increment);
    const { session } = await client.visit(one);

    expect(session?.attributes.n).toBe(2);
    expect(session?.isNew).toBe(false);
  });

  it("costs what it must: nothing without a session, one trip to read, one to write and one for the copy", async () => {
    const { start: process, takeCounts } = start();
    const manager = process();
    const client = testClient();

    await client.visit(manager);
    expect(takeCounts(), "no cookie, nothing written").toEqual({});
    await testClient("forged").visit(manager);
    await testClient(`${"0".repeat(48)}-n1-${"A".repeat(43)}`).visit(manager);
    expect(takeCounts(), "forged cookie").toEqual({});

    await client.visit(manager, increment);
    expect(takeCounts(), "created").toEqual({ save: 1, putIfNewer: 1 });
    await client.visit(manager, (attributes) => attributes.n);
    expect(takeCounts(), "read").toEqual({ load: 1 });
    await client.visit(manager, increment);
    expect(takeCounts(), "written").toEqual({ load: 1, save: 1, putIfNewer: 1 });
  });

  it("gets neither a session nor a cookie stored where it wrote nothing", async () => {
    const { start: process } = start();

    const { result, setCookie } = await testClient().visit(process());

    expect(result.outcome).toBe("unneeded");
    expect(setCookie).toBeUndefined();
  });

  it("gets no new cookie where nothing about it changed", async () => {
    const { start: process } = start();
    const manager = process();
    const client = testClient();

    expect((await client.visit(manager, increment)).setCookie).toMatch(
      /^sid=[0-9a-f]{48}-n[12]-[\w-]{43}; Path=\//,
    );
    expect((await client.visit(manager, increment)).setCookie).toBeUndefined();
  });

  it("gets a new id where its session does not exist any more", async () => {
    const { start: process, clock } = start({ idleTimeoutMs: 1000 });
    const manager = process();
    const client = testClient();
    const { session: first } = await client.visit(manager, increment);

    await clock.turn(1001);
    const { session: second } = await client.visit(manager, increment);

    expect(second?.isNew).toBe(true);
    expect(second?.id).not.toBe(first?.id);
    expect(second?.attributes.n).toBe(1);
  });
});

describe("non-sticky: requests at the same time", () => {
  it("both keep what they changed where they changed different attributes", async () => {
    const { start: process } = start();
    const [one, two] = [process(), process()];
    const client = testClient();
    await client.visit(one, (attributes) => Object.assign(attributes, { a: 0, b: 0 }));

    const [first, second] = [await client.open(one), await client.open(two)];
    first.session!.attributes.a = 1;
    second.session!.attributes.b = 2;
    expect((await client.finish(first)).result.outcome).toBe("stored");
    expect((await client.finish(second)).result.outcome).toBe("stored");

    const { session } = await client.visit(one);
    expect({ ...session?.attributes }).toEqual({ a: 1, b: 2 });
    expect(two.stats().events).toMatchObject({ merged: 1, conflict: 0 });
  });

  const collide = async (onConflict: ClusterOptions["onConflict"]) => {
    const { start: process } = start(onConflict === undefined ? {} : { onConflict });
    const [one, two] = [process(), process()];
    const client = testClient();
    await client.visit(one, (attributes) => Object.assign(attributes, { n: 1 }));
    const [first, second] = [await client.open(one), await client.open(two)];
    first.session!.attributes.n += 10;
    second.session!.attributes.n += 100;
    await client.finish(first);
    const { result } = await client.finish(second);
    const { session } = await client.visit(one);
    return { result, n: session?.attributes.n, events: two.stats().events };
  };

  it("leave the later value of the same attribute, with an event", async () => {
    const { result, n, events } = await collide(undefined);

    expect(result.outcome).toBe("stored");
    expect(n).toBe(101);
    expect(events.conflict).toBe(1);
  });

  it("fail where onConflict says so, and the earlier value stands", async () => {
    const { result, n } = await collide("fail");

    expect(result).toMatchObject({ outcome: "failed", error: { code: "MSM_ERR_CONFLICT", status: 409 } });
    expect(n).toBe(11);
  });

  it("leave what the application's function makes of the three values", async () => {
    const { n } = await collide(({ base, mine, theirs }) => Number(mine) + Number(theirs) - Number(base));

    expect(n).toBe(111);
  });

  it("change nothing once another has destroyed the session", async () => {
    const { start: process } = start();
    const [one, two] = [process(), process()];
    const client = testClient();
    await client.visit(one, increment);
    const stolen = testClient(client.cookie);
    const slow = await client.open(one);

    await client.visit(two, (_, session) => session.destroy());
    slow.session!.attributes.n = 99;
    const { result } = await stolen.finish(slow);

    expect(result.outcome).toBe("discarded");
    expect(client.cookie).toBeUndefined();
    const { session } = await stolen.visit(one);
    expect(session?.isNew).toBe(true);
    expect(session?.attributes.n).toBeUndefined();
  });
});

describe("non-sticky: a node fails", () => {
  const holding = async (options: ClusterOptions = {}) => {
    const running = start(options);
    const manager = running.start();
    const client = testClient();
    await client.visit(manager, increment);
    const primary = client.cookie!.split("-")[1]!;
    const secondary = Object.keys(running.nodes).find((id) => id !== primary)!;
    return {
      ...running,
      manager,
      client,
      primary: running.nodes[primary]!,
      secondary: running.nodes[secondary]!,
      ids: { primary, secondary },
    };
  };

  it("and the session goes on from its copy, with a new hint and the same id", async () => {
    const { manager, client, primary, ids } = await holding();
    const id = client.cookie!.slice(0, 48);

    primary.goDown();
    const { session, setCookie } = await client.visit(manager, increment);

    expect(session?.attributes.n).toBe(2);
    expect(session?.id).toBe(id);
    expect(setCookie).toContain(`${id}-${ids.secondary}-`);
  });

  it("while a save is on its way, and the next node takes it", async () => {
    const { manager, client, primary, ids } = await holding();
    const exchange = await client.open(manager);
    exchange.session!.attributes.n = 2;

    primary.goDown();
    const { result, setCookie } = await client.finish(exchange);

    expect(result.outcome).toBe("stored");
    expect(setCookie).toContain(`-${ids.secondary}-`);
    expect((await client.visit(manager)).session?.attributes.n).toBe(2);
  });

  it("and is back empty: the copy fills it again", async () => {
    const { manager, client, primary, clock } = await holding();

    primary.restartAs(memoryStorage({ clock }));
    const { session } = await client.visit(manager, increment);

    expect(session?.attributes.n).toBe(2);
    expect(manager.stats().events.repaired).toBe(1);
    expect((await primary.load(primary.calls.find((call) => call.key)!.key!)).kind).toBe("found");
  });

  it("between the read and the save, and is back empty: the copy vouches for the session", async () => {
    const { manager, client, primary, clock } = await holding();
    const exchange = await client.open(manager);
    exchange.session!.attributes.n = 2;

    primary.restartAs(memoryStorage({ clock }));
    const { result } = await client.finish(exchange);

    expect(result.outcome).toBe("stored");
    expect((await client.visit(manager)).session?.attributes.n).toBe(2);
  });

  it("with both copies: the request whose session is gone is refused, and the next one starts anew", async () => {
    const { manager, client, primary, secondary, clock } = await holding();
    const exchange = await client.open(manager);
    exchange.session!.attributes.n = 2;

    primary.restartAs(memoryStorage({ clock }));
    secondary.restartAs(memoryStorage({ clock }));
    const { result } = await client.finish(exchange);

    expect(result).toMatchObject({ outcome: "failed", error: { code: "MSM_ERR_SESSION_GONE", status: 503 } });
    expect((await client.visit(manager)).session?.isNew).toBe(true);
  });

  it("and nobody is logged out while a node that may have the session is silent", async () => {
    const { manager, client, primary, secondary, clock } = await holding();
    secondary.restartAs(memoryStorage({ clock }));
    primary.goDown();

    await expect(client.visit(manager)).rejects.toMatchObject({
      code: "MSM_ERR_STORAGE_UNAVAILABLE",
      status: 503,
    });

    primary.comeBack();
    await clock.turn(2000);
    expect((await client.visit(manager)).session?.attributes.n).toBe(1);
  });

  it("and is believed to hold nothing once every session in it has expired", async () => {
    const { manager, client, primary, clock } = await holding({ idleTimeoutMs: 10_000 });
    primary.goDown();
    await clock.turn(20_000);

    expect((await client.visit(manager)).session?.isNew).toBe(true);
  });

  it("and a request goes on without a session where that is wanted", async () => {
    const { manager, client, primary, secondary } = await holding({ onStorageError: "without-session" });
    primary.goDown();
    secondary.goDown();

    const { session, setCookie } = await client.visit(manager);

    expect(session).toBeUndefined();
    expect(setCookie).toBeUndefined();
  });

  it("for a third time, and the session still has two copies after each write", async () => {
    const { manager, client, nodes, clock } = await holding({ nodeIds: ["n1", "n2", "n3"] });

    for (let n = 2; n <= 6; n++) {
      const hint = client.cookie!.split("-")[1]!;
      nodes[hint]!.goDown();
      const { session } = await client.visit(manager, increment);
      expect(session?.attributes.n).toBe(n);
      nodes[hint]!.restartAs(memoryStorage({ clock }));
      await clock.turn(40_000);
    }
  });

  it("with a session that ends meanwhile: the node gets its tombstone when it is back", async () => {
    const { manager, client, primary, clock } = await holding();
    const replay = testClient(client.cookie);
    primary.goDown();
    await client.visit(manager, (_, session) => session.destroy());
    await clock.turn(3000);

    primary.comeBack();
    await clock.turn(3000);

    expect((await replay.visit(manager)).session?.isNew).toBe(true);
    const key = primary.calls.find((call) => call.key)!.key!;
    expect(await primary.load(key)).toMatchObject({ kind: "found", revision: { version: "f".repeat(16) } });
  });

  it("and a node that slept through writes is not believed when it is back", async () => {
    const { manager, client, primary, clock } = await holding();
    const old = testClient(client.cookie);
    primary.goDown();
    await client.visit(manager, increment);
    await clock.turn(3000);

    primary.comeBack();
    await clock.turn(3000);

    expect(manager.health().nodes.some((node) => node.state === "suspect")).toBe(true);
    expect((await old.visit(manager)).session?.attributes.n).toBe(2);
  });

  it("and a write that is applied after it timed out harms nothing", async () => {
    const { manager, client, primary, clock } = await holding();
    primary.holdWrites();
    await client.visit(manager, increment);
    primary.comeBack();
    await client.visit(manager, increment);
    await client.visit(manager, increment);

    await primary.applyHeldWrites();
    await clock.turn(3000);

    expect((await client.visit(manager)).session?.attributes.n).toBe(4);
  });

  it("to answer, having stored: the write counts once", async () => {
    const { manager, client, primary } = await holding();
    primary.loseReplies();
    await client.visit(manager, increment);
    primary.comeBack();
    await client.visit(manager, increment);

    expect((await client.visit(manager)).session?.attributes.n).toBe(3);
    expect(manager.stats().events.conflict).toBe(0);
  });
});

describe("non-sticky: two processes disagree which node is up", () => {
  it("and neither loses what the other saved", async () => {
    const { start: process, nodes, clock } = start();
    const one = process();
    const client = testClient();
    await client.visit(one, (attributes) => Object.assign(attributes, { a: 0, b: 0 }));
    const primary = nodes[client.cookie!.split("-")[1]!]!;
    const two = process();
    const [atOne, atTwo] = [testClient(client.cookie), testClient(client.cookie)];

    // One cannot reach the primary and goes on with the copy; two has read the primary before that.
    const second = await atTwo.open(two);
    const first = await atOne.open(one);
    first.session!.attributes.a = 1;
    primary.goDown();
    expect((await atOne.finish(first)).result.outcome).toBe("stored");
    primary.comeBack();
    second.session!.attributes.b = 2;
    expect((await atTwo.finish(second)).result.outcome).toBe("stored");
    await clock.turn(5000);

    for (const cookie of [atOne.cookie, atTwo.cookie]) {
      const { session } = await testClient(cookie).visit(one);
      expect({ ...session?.attributes }).toEqual({ a: 1, b: 2 });
    }
  });
});

describe("non-sticky: a session", () => {
  it("that is only read keeps its copy alive", async () => {
    const { start: process, nodes, clock } = start({ idleTimeoutMs: 10_000 });
    const manager = process();
    const client = testClient();
    await client.visit(manager, increment);
    const primary = nodes[client.cookie!.split("-")[1]!]!;
    for (let i = 0; i < 10; i++) {
      await clock.turn(4000);
      await client.visit(manager);
    }

    primary.goDown();

    expect((await client.visit(manager)).session?.attributes.n).toBe(1);
  });

  it("ends at its absolute timeout, however busy it is", async () => {
    const { start: process, clock } = start({ idleTimeoutMs: 10_000, absoluteTimeoutMs: 30_000 });
    const manager = process();
    const client = testClient();
    await client.visit(manager, increment);
    for (let i = 0; i < 7; i++) {
      await clock.turn(4000);
      expect((await client.visit(manager, increment)).session?.isNew).toBe(false);
    }

    await clock.turn(4000);

    expect((await client.visit(manager)).session?.isNew).toBe(true);
  });

  it("has an idle timeout of its own where the handler gives it one", async () => {
    const { start: process, clock } = start({ idleTimeoutMs: 10_000 });
    const manager = process();
    const client = testClient();
    await client.visit(manager, (attributes, session) => {
      increment(attributes);
      session.idleTimeoutMs = 60_000;
    });
    await clock.turn(50_000);
    await client.visit(manager);
    await clock.turn(50_000);

    expect((await client.visit(manager)).session?.attributes.n).toBe(1);
  });

  it("gets a new id by regenerate(), and the old one ends only when the new one is stored", async () => {
    const { start: process } = start();
    const manager = process();
    const client = testClient();
    await client.visit(manager, (attributes) => Object.assign(attributes, { cart: [1], user: "guest" }));
    const old = testClient(client.cookie);

    const exchange = await client.open(manager);
    await exchange.session!.regenerate({ keep: ["cart"] });
    exchange.session!.attributes.user = "ann";
    expect((await old.visit(manager)).session?.isNew).toBe(false);
    await client.finish(exchange);

    expect(client.cookie!.slice(0, 48)).not.toBe(old.cookie!.slice(0, 48));
    expect({ ...(await client.visit(manager)).session?.attributes }).toEqual({ cart: [1], user: "ann" });
    expect((await old.visit(manager)).session?.isNew).toBe(true);
  });

  it("stays as it was where the new state is too large", async () => {
    const { start: process } = start({ maxRecordBytes: 2000 });
    const manager = process();
    const client = testClient();
    await client.visit(manager, increment);

    const { result } = await client.visit(manager, (attributes) => {
      attributes.big = "x".repeat(3000);
    });

    expect(result).toMatchObject({ outcome: "failed", error: { code: "MSM_ERR_RECORD_TOO_LARGE" } });
    expect({ ...(await client.visit(manager)).session?.attributes }).toEqual({ n: 1 });
  });

  it("is saved by hand, and given up by reload()", async () => {
    const { start: process } = start();
    const manager = process();
    const client = testClient();
    const exchange = await client.open(manager);
    const session = exchange.session!;
    session.attributes.n = 1;
    await session.save();
    session.attributes.n = 2;

    await session.reload();

    expect(session.attributes.n).toBe(1);
    await client.finish(exchange);
    expect((await client.visit(manager)).session?.attributes.n).toBe(1);
  });

  it("refuses requests after close(), and says so", async () => {
    const { start: process } = start();
    const manager = process();

    await manager.close();

    const refused = await testClient()
      .open(manager)
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(MsmError);
    expect(refused).toMatchObject({ code: "MSM_ERR_CLOSED" });
  });
});

describe("failover nodes", () => {
  it("take sessions only while no other node is left, and give them back", async () => {
    const { start: process, nodes, clock } = start({ nodeIds: ["n1", "n2"], failoverNodes: "n2" });
    const manager = process();
    const client = testClient();
    await client.visit(manager, increment);
    expect(client.cookie).toContain("-n1-");

    nodes.n1!.goDown();
    expect((await client.visit(manager, increment)).session?.attributes.n).toBe(2);
    expect(client.cookie).toContain("-n2-");

    nodes.n1!.comeBack();
    await clock.turn(5000);
    expect((await client.visit(manager, increment)).session?.attributes.n).toBe(3);
    expect(client.cookie).toContain("-n1-");
    expect((await client.visit(manager)).session?.attributes.n).toBe(3);
  });
});
