import type { SessionExchange, SessionManager, SessionRequest } from "@msm/core";
import { afterEach, describe, expect, it } from "vitest";
import { type Cluster, type ClusterOptions, cluster, type TestClient, testClient } from "../../src/index.js";

let running: Cluster;
afterEach(() => running.close());

const modes = ["non-sticky", "sticky"] as const;

async function begin(options: Record<string, unknown>): Promise<{ one: SessionManager; client: TestClient }> {
  running = cluster(options as ClusterOptions);
  const one = running.start("app1");
  const client = testClient();
  await client.visit(one, (session) => {
    session.count = 0;
  });
  return { one, client };
}

const open = (manager: SessionManager, client: TestClient, request: Partial<SessionRequest> = {}) =>
  manager.open({ method: "GET", url: "/", secure: false, cookieHeader: `sid=${client.cookie}`, ...request });

async function close(exchange: SessionExchange) {
  const result = await exchange.commit();
  await exchange.end();
  return result;
}

/** Whether a request of this kind has the session to itself. */
async function locks(manager: SessionManager, client: TestClient, request: Partial<SessionRequest>) {
  const exchange = await open(manager, client, request);
  const { isLocked } = exchange.session!;
  await close(exchange);
  return isLocked;
}

for (const mode of modes) {
  describe(`locking, ${mode}`, () => {
    it("by a pattern is for requests whose path matches, whatever their query", async () => {
      const { one, client } = await begin({ mode, locking: /^\/cart(\/|$)/g });

      expect(await locks(one, client, { url: "/cart/add?item=1" })).toBe(true);
      expect(await locks(one, client, { url: "/cart" })).toBe(true);
      expect(await locks(one, client, { url: "/carton" })).toBe(false);
      expect(await locks(one, client, { url: "/search?next=/cart" })).toBe(false);
    });

    it("by a predicate is for requests for which it holds", async () => {
      const { one, client } = await begin({
        mode,
        locking: ({ method }: SessionRequest) => method !== "GET",
      });

      expect(await locks(one, client, { method: "POST" })).toBe(true);
      expect(await locks(one, client, { method: "GET" })).toBe(false);
    });

    it("is the request's own choice where the application makes one", async () => {
      const { one, client } = await begin({ mode, locking: "all" });
      expect(await locks(one, client, { lock: false })).toBe(false);
      await running.close();

      const again = await begin({ mode, locking: "optimistic" });
      expect(await locks(again.one, again.client, { lock: true })).toBe(true);
      expect(await locks(again.one, again.client, {})).toBe(false);
    });

    it("lets a request that does not lock pass by one that does", async () => {
      const { one, client } = await begin({ mode, locking: /^\/slow/ });
      const slow = await open(one, client, { url: "/slow" });

      const quick = await open(one, client, { url: "/quick" });
      quick.session!.attributes.quick = 1;
      expect(await close(quick)).toEqual({ outcome: "stored" });
      slow.session!.attributes.slow = 1;
      expect(await close(slow)).toEqual({ outcome: "stored" });

      expect((await client.visit(one)).session?.attributes).toEqual({ count: 0, quick: 1, slow: 1 });
    });

    it("lets no request that does not lock overwrite what one that does has changed, nor the other way round", async () => {
      const { one, client } = await begin({ mode, locking: /^\/slow/ });
      const slow = await open(one, client, { url: "/slow" });
      const before = slow.session!.attributes.count as number;
      await client.visit(one, (session) => {
        session.count = 10;
      });

      slow.session!.attributes.count = before + 1;

      expect((await close(slow)).error?.code).toBe("MSM_ERR_CONFLICT");
      expect((await client.visit(one)).session?.attributes.count).toBe(10);
    });

    it('by "app" is for who calls lock()', async () => {
      const { one, client } = await begin({ mode, locking: "app" });
      expect(await locks(one, client, {})).toBe(false);
      const results: unknown[] = [];

      await Promise.all(
        Array.from({ length: 8 }, async () => {
          const exchange = await open(one, client);
          const session = exchange.session!;
          await session.lock();
          const before = session.attributes.count as number;
          await running.clock.turn(5);
          session.attributes.count = before + 1;
          results.push((await close(exchange)).outcome);
        }),
      );

      expect(results).toEqual(new Array(8).fill("stored"));
      expect((await client.visit(one)).session?.attributes.count).toBe(8);
    });

    it('by "auto" is for routes until three of their requests have changed nothing', async () => {
      const { one, client } = await begin({ mode, locking: "auto" });
      const request = { url: "/items/17?sort=name" };

      expect([
        await locks(one, client, request),
        await locks(one, client, { url: "/items/18" }),
        await locks(one, client, request),
        await locks(one, client, { url: "/items/4711" }),
      ]).toEqual([true, true, true, false]);
      expect(await locks(one, client, { url: "/items" })).toBe(true);
      expect(await locks(one, client, { ...request, method: "POST" })).toBe(true);
      expect(await locks(one, client, { ...request, routePattern: "/items/:item" })).toBe(true);
    });

    it('by "auto" is for a route again that changed something, and for one that was learned ten minutes ago', async () => {
      const { one, client } = await begin({ mode, locking: "auto" });
      const change = async () => {
        const exchange = await open(one, client, { url: "/a" });
        exchange.session!.attributes.seen = running.clock.now();
        return close(exchange);
      };
      for (let i = 0; i < 3; i++) await locks(one, client, { url: "/a" });
      expect(await locks(one, client, { url: "/a" })).toBe(false);

      expect(await change()).toEqual({ outcome: "stored" });
      for (let i = 0; i < 4; i++) expect(await locks(one, client, { url: "/a" })).toBe(true);

      await running.clock.turn(600_000);
      for (let i = 0; i < 3; i++) expect(await locks(one, client, { url: "/a" })).toBe(true);
      expect(await locks(one, client, { url: "/a" })).toBe(false);
      await running.clock.turn(600_000);
      expect(await locks(one, client, { url: "/a" })).toBe(true);
    });

    it('by "auto" that guessed wrong costs a merge or a 409, and never an update', async () => {
      const { one, client } = await begin({ mode, locking: "auto" });
      for (let i = 0; i < 3; i++) await locks(one, client, { url: "/guessed" });
      const guessed = await open(one, client, { url: "/guessed" });
      const merges = await open(one, client, { url: "/guessed" });
      const before = guessed.session!.attributes.count as number;
      merges.session!.attributes.other = 1;
      await client.visit(one, (session) => {
        session.count = (session.count as number) + 1;
      });
      guessed.session!.attributes.count = before + 1;

      expect((await close(guessed)).error?.code).toBe("MSM_ERR_CONFLICT");
      expect(await close(merges)).toEqual({ outcome: "stored" });
      expect((await client.visit(one)).session?.attributes).toEqual({ count: 1, other: 1 });
    });
  });
}

describe('locking "none"', () => {
  it("lets the whole session of whoever saves last stand, and tells what gave way", async () => {
    const { one, client } = await begin({ locking: "none" });
    const two = running.start();
    const lost: string[] = [];
    two.on("conflict", ({ attribute, kept }) => lost.push(`${attribute} ${kept}`));
    const [first, second] = [await open(one, client), await open(two, client)];
    first.session!.attributes.first = 1;
    second.session!.attributes.second = 2;

    expect([await close(first), await close(second)]).toEqual([{ outcome: "stored" }, { outcome: "stored" }]);

    expect((await client.visit(one)).session?.attributes).toEqual({ count: 0, second: 2 });
    expect(lost).toEqual(["first mine"]);
  });

  it("lets no session that was destroyed come back", async () => {
    const { one, client } = await begin({ locking: "none" });
    const slow = await open(one, client);
    await client.visit(running.start(), (_, session) => session.destroy());

    slow.session!.attributes.count = 1;

    expect(await close(slow)).toEqual({ outcome: "discarded" });
    expect((await testClient(client.cookie).visit(one)).session?.isNew).toBe(true);
  });
});

describe('locking "optimistic"', () => {
  it("counts two increments that came to the same number as a conflict", async () => {
    const { one, client } = await begin({ locking: "optimistic" });
    const two = running.start();
    const [first, second] = [await open(one, client), await open(two, client)];
    for (const { session } of [first, second]) session!.attributes.count++;

    expect([await close(first), await close(second)]).toEqual([{ outcome: "stored" }, { outcome: "stored" }]);

    expect((await client.visit(one)).session?.attributes.count).toBe(1);
    expect(two.stats().events.conflict).toBe(1);
  });

  it("makes two of two increments where onConflict is a function that adds", async () => {
    const { one, client } = await begin({
      locking: "optimistic",
      onConflict: ({ base, mine, theirs }: Record<string, number>) => mine! + theirs! - base!,
    });
    const exchanges = [];
    for (const manager of [one, running.start(), running.start()])
      exchanges.push(await open(manager, client));
    for (const { session } of exchanges) session!.attributes.count++;

    for (const exchange of exchanges) expect(await close(exchange)).toEqual({ outcome: "stored" });

    expect((await client.visit(one)).session?.attributes.count).toBe(3);
  });
});
