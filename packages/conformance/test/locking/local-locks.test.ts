import type { MsmError, SessionExchange, SessionManager } from "@msm/core";
import { afterEach, describe, expect, it } from "vitest";
import { type Cluster, type ClusterOptions, cluster, type TestClient, testClient } from "../../src/index.js";

let running: Cluster;
afterEach(() => running.close());

async function begin(
  options: Record<string, unknown> = {},
): Promise<{ one: SessionManager; client: TestClient }> {
  running = cluster({ mode: "sticky", locking: "all", ...options } as ClusterOptions);
  const one = running.start("app1");
  const client = testClient();
  await client.visit(one, (session) => {
    session.count = 0;
  });
  await running.clock.turn(0);
  running.takeCounts();
  return { one, client };
}

async function close(exchange: SessionExchange) {
  const result = await exchange.commit();
  await exchange.end();
  return result;
}

/** A request that reads, lets `meanwhile` happen, and writes what it made of what it had read. */
async function readThenWrite(exchange: SessionExchange, meanwhile: () => Promise<unknown> = async () => {}) {
  const { attributes } = exchange.session!;
  const before = attributes.count as number;
  await meanwhile();
  attributes.count = before + 1;
  return close(exchange);
}

describe("the lock of a sticky session", () => {
  it("costs no operation on a node", async () => {
    const { one, client } = await begin();

    await client.visit(one, (session) => session.count);
    expect(running.takeCounts()).toEqual({});
    await client.visit(one, (session) => {
      session.count++;
    });
    expect(running.takeCounts()).toEqual({ save: 1 });
  });

  it("lets requests in one after the other, each when the one before is saved", async () => {
    const { one, client } = await begin();

    const visits = await Promise.all(
      Array.from({ length: 32 }, async () =>
        readThenWrite(await testClient(client.cookie).open(one), () => running.clock.turn(5)),
      ),
    );

    expect(visits.map(({ outcome }) => outcome)).toEqual(new Array(32).fill("stored"));
    expect((await client.visit(one)).session?.attributes.count).toBe(32);
  });

  it("that cannot be had in time refuses the request", async () => {
    const { one, client } = await begin();
    const first = await client.open(one);
    const waiting = testClient(client.cookie).open(one);
    waiting.catch(() => {});
    await running.clock.turn(2000);

    await expect(waiting).rejects.toMatchObject({ code: "MSM_ERR_LOCK_TIMEOUT", status: 503 });
    await close(first);
    await client.visit(one);
  });

  it("is held for maxLeaseMs at most, and who held it overwrites nothing then", async () => {
    const { one, client } = await begin({ maxLeaseMs: 4000, lockTimeoutMs: 10_000 });
    const lost: number[] = [];
    one.on("leaseLost", ({ heldMs }) => lost.push(heldMs));
    const slow = await client.open(one);

    const { outcome, error } = await readThenWrite(slow, async () => {
      const waiting = testClient(client.cookie).open(one);
      await running.clock.turn(4000);
      await readThenWrite(await waiting);
    });

    expect(lost).toEqual([4000]);
    expect([outcome, error?.code]).toEqual(["failed", "MSM_ERR_CONFLICT"]);
    expect((await client.visit(one)).session?.attributes.count).toBe(1);
  });

  it("keeps no other session waiting", async () => {
    const { one, client } = await begin();
    const other = testClient();
    await other.visit(one, (session) => {
      session.count = 7;
    });
    const first = await client.open(one);

    expect((await other.visit(one)).session?.attributes.count).toBe(7);
    await close(first);
  });

  it("gives a request that waited while the session was destroyed a new one", async () => {
    const { one, client } = await begin();
    const first = await client.open(one);
    const waiting = testClient(client.cookie).open(one);

    await first.session!.destroy();
    await close(first);

    const second = await waiting;
    expect(second.session?.isNew).toBe(true);
    expect(second.session?.attributes).toEqual({});
    await close(second);
  });

  it("over two processes that both have the session lets no change of one be overwritten by the other", async () => {
    const { one, client } = await begin();
    const two = running.start("app2");
    const { cookie } = client;
    const codes: (string | undefined)[] = [];

    const outcomes = await Promise.all(
      Array.from({ length: 32 }, async (_, i) => {
        const exchange = await testClient(cookie).open(i % 2 === 0 ? one : two);
        const { outcome, error } = await readThenWrite(exchange, () => running.clock.turn(5));
        codes.push(error?.code);
        return outcome;
      }),
    );

    const stored = outcomes.filter((outcome) => outcome === "stored").length;
    expect(new Set(codes.filter((code) => code !== undefined))).toEqual(new Set(["MSM_ERR_CONFLICT"]));
    const counts = [];
    for (const manager of [one, two]) {
      counts.push(
        (await testClient(cookie?.replace(".app1", ".app9")).visit(manager)).session?.attributes.count,
      );
    }
    expect(counts).toEqual([stored, stored]);
  });
});

describe("requests of a sticky session that do not lock", () => {
  it("share it, so that an increment between two awaits is never lost", async () => {
    const { one, client } = await begin({ locking: "optimistic" });

    const visits = await Promise.all(
      Array.from({ length: 32 }, () =>
        testClient(client.cookie).visit(one, async (session) => {
          await running.clock.turn(5);
          session.count++;
        }),
      ),
    );

    expect(visits.every(({ result }) => result.outcome === "stored")).toBe(true);
    expect((await client.visit(one)).session?.attributes.count).toBe(32);
    expect(one.stats().events.conflict).toBe(0);
  });

  it("tell of each change that one overwrites, having read before another wrote", async () => {
    const { one, client } = await begin({ locking: "optimistic" });
    const kept: string[] = [];
    one.on("conflict", (conflict) => kept.push(`${conflict.attribute} ${conflict.kept}`));

    const first = await client.open(one);
    const { error } = await readThenWrite(first, async () => readThenWrite(await client.open(one)));

    expect([error, kept]).toEqual([undefined, ["count mine"]]);
    expect((await client.visit(one)).session?.attributes.count).toBe(1);
  });

  it('overwrite nothing under onConflict "fail"', async () => {
    const { one, client } = await begin({ locking: "optimistic", onConflict: "fail" });

    const first = await client.open(one);
    const { error } = await readThenWrite(first, async () => {
      await client.visit(one, (session) => {
        session.count = 10;
      });
    });

    expect(error?.code).toBe("MSM_ERR_CONFLICT");
    expect((await client.visit(one)).session?.attributes.count).toBe(10);
  });

  it("go on once they have read the attribute anew, set it, and reloaded", async () => {
    const { one, client } = await begin({ locking: "optimistic", onConflict: "fail" });
    const exchange = await client.open(one);
    const { attributes } = exchange.session!;
    const before = attributes.count as number;
    await client.visit(one, (session) => {
      session.count = 10;
    });
    attributes.count = before + 1;
    expect((await exchange.commit()).error?.code).toBe("MSM_ERR_CONFLICT");

    await exchange.session!.reload();
    attributes.count++;

    expect(await close(exchange)).toEqual({ outcome: "stored" });
    expect((await client.visit(one)).session?.attributes.count).toBe(11);
  });

  it("are asked what stands by a function: two increments are two", async () => {
    const { one, client } = await begin({
      locking: "optimistic",
      onConflict: ({ base, mine, theirs }: Record<string, number>) => mine! + theirs! - base!,
    });
    const { cookie } = client;

    const exchanges = await Promise.all(Array.from({ length: 8 }, () => testClient(cookie).open(one)));
    const results = await Promise.all(
      exchanges.map((exchange) => readThenWrite(exchange, () => running.clock.turn(5))),
    );

    expect(results.every(({ outcome }) => outcome === "stored")).toBe(true);
    expect((await client.visit(one)).session?.attributes.count).toBe(8);
  });

  it("may set what nobody has changed since they read it, whoever else reads it", async () => {
    const { one, client } = await begin({ locking: "optimistic", onConflict: "fail" });
    const reader = await client.open(one);
    expect(reader.session!.attributes.count).toBe(0);
    const writer = await client.open(one);
    writer.session!.attributes.cart = { items: [1] };
    expect(writer.session!.attributes.cart.items).toEqual([1]);
    writer.session!.attributes.cart.items.push(2);
    await writer.commit();
    writer.session!.attributes.cart = { items: [...(writer.session!.attributes.cart.items as number[]), 3] };
    writer.session!.attributes.count = 1;
    writer.session!.attributes.count = 2;

    expect([await close(writer), await close(reader)]).toEqual([
      { outcome: "stored" },
      { outcome: "unneeded" },
    ]);
    expect((await client.visit(one)).session?.attributes).toMatchObject({
      count: 2,
      cart: { items: [1, 2, 3] },
    });
  });

  it("meet an object that another one put in the place of theirs", async () => {
    const { one, client } = await begin({ locking: "optimistic", onConflict: "fail" });
    await client.visit(one, (session) => {
      session.cart = ["a"];
    });
    const exchange = await client.open(one);
    const mine = [...(exchange.session!.attributes.cart as string[]), "mine"];
    await client.visit(one, (session) => {
      session.cart = [...session.cart, "theirs"];
    });

    exchange.session!.attributes.cart = mine;
    const failed: MsmError | undefined = (await close(exchange)).error;

    expect(failed?.code).toBe("MSM_ERR_CONFLICT");
    expect((await client.visit(one)).session?.attributes.cart).toEqual(["a", "theirs"]);
  });
});
