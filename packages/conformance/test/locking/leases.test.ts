import type { Clock, MsmError, SessionExchange, SessionManager, Storage } from "@msm/core";
import { memoryStorage } from "@msm/core";
import { afterEach, describe, expect, it } from "vitest";
import { type Cluster, type ClusterOptions, cluster, type TestClient, testClient } from "../../src/index.js";

let running: Cluster;
afterEach(() => running.close());

/** A cluster, one session in it, and nothing counted yet. */
async function begin(options: ClusterOptions = {}): Promise<{ one: SessionManager; client: TestClient }> {
  running = cluster({ locking: "all", ...options });
  const one = running.start();
  const client = testClient();
  await client.visit(one, (session) => {
    session.count = 0;
  });
  await running.clock.turn(0);
  running.takeCounts();
  return { one, client };
}

/** A storage as memcached is: it tells nobody that a lease was given back. */
function silentStorage(options: { readonly clock: Clock }): Storage {
  const storage = memoryStorage(options);
  return new Proxy(storage, {
    get(_, name) {
      const member: unknown = name === "onRelease" ? undefined : Reflect.get(storage, name, storage);
      return typeof member === "function" ? member.bind(storage) : member;
    },
  });
}

const increment = (session: { count?: number }) => {
  session.count = (session.count ?? 0) + 1;
};

/** Opens a request that may have to wait, and says whether it does. */
function opening(client: TestClient, manager: SessionManager) {
  const state = { isOpen: false, error: undefined as MsmError | undefined };
  const exchange = testClient(client.cookie).open(manager);
  exchange.then(
    () => {
      state.isOpen = true;
    },
    (error: MsmError) => {
      state.error = error;
    },
  );
  return Object.assign(state, { exchange });
}

async function close(exchange: SessionExchange) {
  const result = await exchange.commit();
  await exchange.end();
  return result;
}

describe("a lease", () => {
  it("is taken with the load and given back with the save", async () => {
    const { one, client } = await begin();

    await client.visit(one, increment);
    expect(running.takeCounts()).toEqual({ load: 1, save: 1, putIfNewer: 1 });

    await client.visit(one, increment);
    expect(running.takeCounts()).toEqual({ load: 1, save: 1, putIfNewer: 1 });
  });

  it("of a request that changed nothing is given back by itself", async () => {
    const { one, client } = await begin();

    await client.visit(one, (session) => session.count);

    expect(running.takeCounts()).toEqual({ load: 1, unlock: 1 });
  });

  it("is not taken, nor waited for, where there is no session", async () => {
    const { one } = await begin();
    const stranger = testClient(`${"0".repeat(48)}-n1-${"A".repeat(43)}`);

    await Promise.all([stranger.visit(one), testClient().visit(one)]);

    expect(running.takeCounts()).toEqual({});
  });

  it("keeps other requests of this process and of others waiting until the save", async () => {
    const { one, client } = await begin();
    const two = running.start();
    const first = await client.open(one);
    const here = opening(client, one);
    const there = opening(client, two);
    await running.clock.turn(500);
    expect([here.isOpen, there.isOpen]).toEqual([false, false]);

    increment(first.session!.attributes);
    await close(first);
    const second = await here.exchange;
    await running.clock.turn(500);
    expect(second.session!.attributes.count).toBe(1);
    increment(second.session!.attributes);
    expect(there.isOpen).toBe(false);
    await close(second);
    await running.clock.turn(500);

    expect((await there.exchange).session!.attributes.count).toBe(2);
    await close(await there.exchange);
  });

  it("goes from one request of a process to the next without being given back", async () => {
    const { one, client } = await begin();

    const visits = Array.from({ length: 12 }, () => testClient(client.cookie).visit(one, increment));
    const results = await Promise.all(visits);

    expect(results.map(({ result }) => result.outcome)).toEqual(new Array(12).fill("stored"));
    expect(running.takeCounts()).toEqual({ load: 12, save: 12, putIfNewer: 12 });
    expect((await client.visit(one)).session?.attributes.count).toBe(12);
    await client.visit(running.start(), increment); // it was given back in the end
  });

  it.each([
    ["is told of its release", memoryStorage],
    ["has to ask for it again and again", silentStorage],
  ])("is passed on after eight requests to a process that waits and %s", async (_, create) => {
    const createStorage = (clock: Clock) => create({ clock });
    const { one, client } = await begin({ lockTimeoutMs: 60_000, createStorage });
    const two = running.start();
    const first = await client.open(one);
    const order: string[] = [];
    const visit = async (manager: SessionManager, name: string) => {
      await testClient(client.cookie).visit(manager, (session) => {
        increment(session);
        order.push(name);
      });
    };
    const visits = Array.from({ length: 30 }, () => visit(one, "one"));
    visits.push(visit(two, "two"));
    await running.clock.turn(500);

    await close(first);
    for (let i = 0; i < 20; i++) await running.clock.turn(100);
    await Promise.all(visits);

    expect(order.indexOf("two")).toBeGreaterThan(0);
    expect(order.indexOf("two")).toBeLessThanOrEqual(10);
    expect((await client.visit(two)).session?.attributes.count).toBe(31);
  });

  it("lets requests of one process in in the order in which they came", async () => {
    const { one, client } = await begin();
    const order: number[] = [];
    const first = await client.open(one);
    const visits = [1, 2, 3, 4, 5].map((n) =>
      testClient(client.cookie).visit(one, () => {
        order.push(n);
      }),
    );
    await close(first);

    await Promise.all(visits);

    expect(order).toEqual([1, 2, 3, 4, 5]);
  });

  it("that cannot be had in time refuses the request with 503 and Retry-After", async () => {
    const { one, client } = await begin();
    const two = running.start();
    const timedOut: string[] = [];
    one.on("lockTimedOut", ({ outcome }) => timedOut.push(outcome));
    const first = await client.open(one);
    const here = opening(client, one);
    const there = opening(client, two);

    await running.clock.turn(1999);
    expect([here.error, there.error]).toEqual([undefined, undefined]);
    await running.clock.turn(1);

    for (const { error } of [here, there]) {
      expect(error).toMatchObject({
        code: "MSM_ERR_LOCK_TIMEOUT",
        status: 503,
        headers: { "Retry-After": "1" },
      });
    }
    expect(timedOut).toEqual(["refused"]);
    await close(first);
    await client.visit(two, increment);
  });

  it('that cannot be had in time is done without under onLockTimeout "optimistic", and an event says so', async () => {
    const { one, client } = await begin({ onLockTimeout: "optimistic" });
    const timedOut: string[] = [];
    one.on("lockTimedOut", ({ outcome }) => timedOut.push(outcome));
    const first = await client.open(one);
    const waiting = opening(client, one);
    await running.clock.turn(2000);

    const second = await waiting.exchange;
    expect(second.session?.isLocked).toBe(false);
    second.session!.attributes.other = 1;
    expect(await close(second)).toEqual({ outcome: "stored" });
    increment(first.session!.attributes);
    expect(await close(first)).toEqual({ outcome: "stored" });

    expect(timedOut).toEqual(["optimistic"]);
    expect((await client.visit(one)).session?.attributes).toEqual({ count: 1, other: 1 });
  });

  it("is renewed while its request runs", async () => {
    const { one, client } = await begin();
    const two = running.start();
    const first = await client.open(one);

    await running.clock.turn(20_000);
    const there = opening(client, two);
    await running.clock.turn(1500);
    expect(there.isOpen).toBe(false);
    increment(first.session!.attributes);
    expect(await close(first)).toEqual({ outcome: "stored" });
    await running.clock.turn(200);

    await close(await there.exchange);
    expect(running.takeCounts().renewLease).toBeGreaterThanOrEqual(20);
  });

  it("of a process that was killed is free after its time to live", async () => {
    const { one, client } = await begin({ lockTimeoutMs: 10_000 });
    const two = running.start();
    await client.open(one);
    running.kill(one);

    const there = opening(client, two);
    await running.clock.turn(2900);
    expect(there.isOpen).toBe(false);
    await running.clock.turn(300);

    expect(there.isOpen).toBe(true);
    await close(await there.exchange);
  });

  it("ends after maxLeaseMs, and what its request saves then never overwrites another's change", async () => {
    const { one, client } = await begin({ maxLeaseMs: 5000 });
    const two = running.start();
    const lost: number[] = [];
    one.on("leaseLost", ({ heldMs }) => lost.push(heldMs));
    const slow = await client.open(one);
    const before = slow.session!.attributes.count as number;
    await running.clock.turn(5001);
    expect(slow.session?.isLocked).toBe(false);
    expect(lost).toEqual([5000]);
    await testClient(client.cookie).visit(two, increment);

    slow.session!.attributes.count = before + 1;
    const { outcome, error } = await close(slow);

    expect([outcome, error?.code, error?.status]).toEqual(["failed", "MSM_ERR_CONFLICT", 409]);
    expect((await client.visit(two)).session?.attributes.count).toBe(1);
  });

  it("that a paused process no longer has is not missed: whoever saves later fails, and nothing is overwritten", async () => {
    const { one, client } = await begin();
    const two = running.start();
    const paused = await client.open(one);
    increment(paused.session!.attributes);
    // Nothing that the process does reaches the nodes while it is paused: its renewals fail.
    for (const node of Object.values(running.nodes)) node.hangOn("renewLease");
    await running.clock.turn(3100);
    const there = await testClient(client.cookie).open(two);
    increment(there.session!.attributes);
    for (const node of Object.values(running.nodes)) node.comeBack();

    // The version check lets the first one through, whoever has the lease.
    expect(await close(paused)).toEqual({ outcome: "stored" });
    expect((await close(there)).error?.code).toBe("MSM_ERR_CONFLICT");

    expect((await client.visit(two)).session?.attributes.count).toBe(1);
  });

  it("whose reply was lost locks nobody out", async () => {
    const { one, client } = await begin();
    const { n1, n2 } = running.nodes;
    for (const node of [n1!, n2!]) node.loseNextReply();

    const { result } = await client.visit(one, increment);
    expect(result.outcome).toBe("stored");
    await client.visit(running.start(), increment);

    expect((await client.visit(one)).session?.attributes.count).toBe(2);
  });

  it("goes with its node, and the session goes on with the next one under a lease there", async () => {
    const { one, client } = await begin();
    const home = client.cookie!.split("-")[1]!;
    const first = await client.open(one);
    increment(first.session!.attributes);
    running.nodes[home]!.goDown();
    expect(await close(first)).toEqual({ outcome: "stored" });
    await running.clock.turn(600);

    const second = await client.open(one);
    const waiting = opening(client, one);
    await running.clock.turn(100);
    expect([second.session?.isLocked, waiting.isOpen]).toEqual([true, false]);
    increment(second.session!.attributes);
    await close(second);
    await close(await waiting.exchange);

    expect((await client.visit(one)).session?.attributes.count).toBe(2);
  });

  it("of a node that restarts empty is lost, and the session is not", async () => {
    const { one, client } = await begin();
    const home = client.cookie!.split("-")[1]!;
    const first = await client.open(one);
    increment(first.session!.attributes);
    running.nodes[home]!.restartAs(memoryStorage({ clock: running.clock }));
    await running.clock.turn(1500);

    expect(first.session?.isLocked).toBe(false);
    expect((await close(first)).outcome).toBe("stored");
    expect((await client.visit(one)).session?.attributes.count).toBe(1);
  });

  it("is given back where the request fails", async () => {
    const { one, client } = await begin();
    const first = await client.open(one);
    first.session!.attributes.count = 1n;
    expect((await close(first)).error?.code).toBe("MSM_ERR_CODEC");

    await client.visit(running.start(), increment);

    expect((await client.visit(one)).session?.attributes.count).toBe(1);
  });

  it("is given back where a request ends without a commit, and what it commits later is under the version check", async () => {
    const { one, client } = await begin();
    const aborted = await client.open(one);
    increment(aborted.session!.attributes);
    await aborted.end();
    await testClient(client.cookie).visit(running.start(), increment);

    expect((await aborted.commit()).error?.code).toBe("MSM_ERR_CONFLICT");

    expect((await client.visit(one)).session?.attributes.count).toBe(1);
  });

  it("of a session that is destroyed lets those who wait go on without one", async () => {
    const { one, client } = await begin();
    const first = await client.open(one);
    const here = opening(client, one);
    const there = opening(client, running.start());
    await running.clock.turn(50);

    await first.session!.destroy();
    await close(first);
    await running.clock.turn(200);

    expect((await here.exchange).session?.isNew).toBe(true);
    expect((await there.exchange).session?.isNew).toBe(true);
  });
});

describe("the line of those who wait", () => {
  it("takes 32 of one session and 1,000 of a process, and refuses the next with 503", async () => {
    const { one, client } = await begin({ lockTimeoutMs: 1000 });
    await client.open(one);
    const waiting = Array.from({ length: 33 }, () => opening(client, one));
    await running.clock.turn(0);

    expect(one.stats().waitingRequests).toBe(32);
    expect(waiting.at(-1)?.error).toMatchObject({
      code: "MSM_ERR_LOCK_QUEUE_FULL",
      status: 503,
      headers: { "Retry-After": "1" },
    });

    await running.clock.turn(1000);
    expect(waiting.every(({ error }) => error !== undefined)).toBe(true);
    expect(one.stats().waitingRequests).toBe(0);
  });

  it("is left by a request whose client goes away, and is no longer than before", async () => {
    const { one, client } = await begin();
    const first = await client.open(one);
    const listeners = new Set<() => void>();
    const request = {
      method: "GET",
      url: "/",
      secure: false,
      cookieHeader: `sid=${client.cookie}`,
      onClose: (listener: () => void) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    };
    const left = one.open(request);
    const stays = opening(client, one);
    await running.clock.turn(100);
    expect(one.stats().waitingRequests).toBe(2);

    for (const listener of listeners) listener();
    await expect(left).rejects.toMatchObject({ code: "MSM_ERR_ABORTED" });
    expect(listeners.size).toBe(0);
    expect(one.stats().waitingRequests).toBe(1);

    await close(first);
    await close(await stays.exchange);
  });

  it("in another process is left by a request whose client goes away", async () => {
    const { one, client } = await begin();
    const two = running.start();
    const first = await client.open(one);
    let goAway = () => {};
    const left = two.open({
      method: "GET",
      url: "/",
      secure: false,
      cookieHeader: `sid=${client.cookie}`,
      onClose: (listener) => {
        goAway = listener;
        return () => {};
      },
    });
    await running.clock.turn(100);

    goAway();
    await expect(left).rejects.toMatchObject({ code: "MSM_ERR_ABORTED" });

    await close(first);
    await client.visit(two, increment);
  });
});
