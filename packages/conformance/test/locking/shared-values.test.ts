import { describe, expect, it } from "vitest";
import { testClient } from "../../src/index.js";
import { attributesOf, begin, close, gatedStorage, modes, open } from "./stage.js";

describe("requests that share an object of a sticky session", () => {
  it("are in conflict with nobody who only read it, where they assign it back", async () => {
    const { one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    const writing = await open(one, client.cookie);
    const { cart } = writing.session!.attributes;
    cart.n++;

    const reading = await open(one, client.cookie);
    expect(reading.session!.attributes.cart.n).toBe(1);
    expect((await close(reading)).code).toBeUndefined();
    writing.session!.attributes.cart = cart;

    expect((await close(writing)).code).toBeUndefined();
    expect((await attributesOf(one, client.cookie)).cart).toEqual({ n: 1 });
  });

  it("add once, where a function adds and another request read in between", async () => {
    type Cart = { readonly n: number };
    const { one, client } = await begin({
      mode: "sticky",
      onConflict: ({ base, mine, theirs }: Record<"base" | "mine" | "theirs", Cart>) => ({
        n: mine.n + theirs.n - base.n,
      }),
    });
    const writing = await open(one, client.cookie);
    const { cart } = writing.session!.attributes;
    cart.n++;

    await client.visit(one, (attributes) => attributes.cart);
    writing.session!.attributes.cart = cart;
    await close(writing);

    expect((await attributesOf(one, client.cookie)).cart).toEqual({ n: 1 });
  });

  it("are in conflict with nobody who only read it, where they assign another twice", async () => {
    const { one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    const writing = await open(one, client.cookie);
    writing.session!.attributes.cart = { n: writing.session!.attributes.cart.n + 1 };

    await client.visit(one, (attributes) => attributes.cart);
    writing.session!.attributes.cart = { n: 2 };

    expect((await close(writing)).code).toBeUndefined();
    expect((await attributesOf(one, client.cookie)).cart).toEqual({ n: 2 });
  });

  it("are not refused for what one without a lock read, where they have the lock", async () => {
    const { one, client } = await begin({ mode: "sticky", locking: /^\/slow/ });
    const slow = await open(one, client.cookie, { url: "/slow" });
    const { cart } = slow.session!.attributes;
    cart.n++;

    await client.visit(one, (attributes) => attributes.cart);
    slow.session!.attributes.cart = cart;

    expect((await close(slow)).code).toBeUndefined();
  });

  it.each([
    ["under onConflict: fail", { onConflict: "fail" }],
    ["with the lock", { locking: /^\/slow/ }],
  ])("are told where they change the one that another replaced, %s", async (_, options) => {
    const { one, client } = await begin({ mode: "sticky", ...options });
    const slow = await open(one, client.cookie, { url: "/slow" });
    const { cart } = slow.session!.attributes;
    await client.visit(one, (attributes) => {
      attributes.cart = { n: 7 };
    });

    cart.coupon = "X";

    expect((await close(slow)).code).toBe("MSM_ERR_CONFLICT");
    expect((await attributesOf(one, client.cookie)).cart).toEqual({ n: 7 });
  });

  it.each(["after the first one was refused", "before the first one is refused"])(
    "are all told where they change the one that a third replaced, the second %s",
    async (when) => {
      const { one, client } = await begin({ mode: "sticky", onConflict: "fail" });
      const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];
      const [ofFirst, ofSecond] = [first.session!.attributes.cart, second.session!.attributes.cart];
      await client.visit(one, (attributes) => {
        attributes.cart = { n: 7 };
      });

      ofFirst.first = 1;
      if (when.startsWith("before")) ofSecond.second = 2;
      expect((await close(first)).code).toBe("MSM_ERR_CONFLICT");
      if (when.startsWith("after")) ofSecond.second = 2;

      expect((await close(second)).code).toBe("MSM_ERR_CONFLICT");
      expect((await attributesOf(one, client.cookie)).cart).toEqual({ n: 7 });
    },
  );
});

describe("what one request of a sticky session gives up", () => {
  it("is not what another assigned after it", async () => {
    const { one, client } = await begin({ mode: "sticky" });
    const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];

    first.session!.attributes.count = 5;
    second.session!.attributes.count = 7;
    await first.session!.reload();
    await close(first);

    expect((await close(second)).outcome).toBe("stored");
    expect((await attributesOf(one, client.cookie)).count).toBe(7);
  });

  it("is not what another deleted, where it only read that", async () => {
    const { one, client } = await begin({ mode: "sticky" });
    const reading = await open(one, client.cookie);
    expect(reading.session!.attributes.cart.n).toBe(0);

    const deleting = await open(one, client.cookie);
    delete deleting.session!.attributes.cart;
    await reading.session!.reload();
    await close(reading);
    await close(deleting);

    expect((await attributesOf(one, client.cookie)).cart).toBeUndefined();
  });

  it("is not what another had assigned before it, also where that one gives it a new id", async () => {
    for (const renews of [false, true]) {
      const { one, client } = await begin({ mode: "sticky" });
      const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];

      first.session!.attributes.count += 1;
      second.session!.attributes.count += 1; // 2: it sees what the first one has not committed yet
      await second.session!.reload();
      expect(second.session!.attributes.count).toBe(1);
      if (renews) await first.session!.regenerate({ keep: "all" });

      const { outcome, cookie = client.cookie } = await close(first);
      expect(outcome).toBe("stored");
      expect((await attributesOf(one, cookie)).count).toBe(1);
    }
  });

  it("is none of the increments of two others", async () => {
    const { one, client } = await begin({ mode: "sticky" });
    const [first, second, third] = await Promise.all([1, 2, 3].map(() => open(one, client.cookie)));

    for (const { session } of [first!, second!, third!]) session!.attributes.count += 1;
    await third!.session!.reload();
    for (const request of [third!, first!, second!]) await close(request);

    expect((await attributesOf(one, client.cookie)).count).toBe(2);
  });

  it.each([
    ["once its value was committed with another's", 3],
    ["once it was committed with another's, as no change", 0],
  ])("brings no earlier value back %s", async (_, last) => {
    const { one, client } = await begin({ mode: "sticky" });
    const [first, second, third] = await Promise.all([1, 2, 3].map(() => open(one, client.cookie)));

    first!.session!.attributes.count = 1;
    second!.session!.attributes.count = 2;
    third!.session!.attributes.count = last; // which is what the first one commits, as it stands in its place
    await first!.commit();
    await third!.session!.regenerate({ keep: "all" });
    await close(second!);
    const { outcome, cookie } = await close(third!);
    await close(first!);

    expect(outcome).toBe("stored");
    expect((await attributesOf(one, cookie)).count).toBe(last);
  });

  it("is not what another had changed in place before it", async () => {
    const { one, client } = await begin({ mode: "sticky" });
    const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];

    first.session!.attributes.cart.n = 1;
    second.session!.attributes.cart = { n: 7 };
    await second.session!.reload();

    expect((await close(first)).outcome).toBe("stored");
    expect((await attributesOf(one, client.cookie)).cart).toEqual({ n: 1 });
  });

  it("is not the object that it only read, and another changes before and after", async () => {
    const { one, client } = await begin({ mode: "sticky" });
    const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];
    expect(second.session!.attributes.cart.n).toBe(0);
    const { cart } = first.session!.attributes;

    await second.session!.reload();
    first.session!.attributes.cart.coupon = "X";
    cart.n = 1;

    expect((await close(first)).outcome).toBe("stored");
    expect((await attributesOf(one, client.cookie)).cart).toEqual({ n: 1, coupon: "X" });
  });

  it.each([
    ["assigned another value", { own: { count: 1 }, other: { count: 7 } }],
    ["assigned the same value", { own: { seen: true }, other: { seen: true } }],
    ["deleted it", { own: { count: 1 }, other: { count: undefined } }],
    ["assigned what the work had read", { own: {}, other: { cart: null } }],
  ])("as its work throws is not what another did meanwhile that %s", async (_, { own, other }) => {
    const { one, client, id } = await begin({ mode: "sticky" });
    const request = await open(one, client.cookie);

    const work = one.withSession(id, ({ attributes }) => {
      expect(attributes.cart.n).toBe(0);
      Object.assign(attributes, own);
      for (const [name, value] of Object.entries(other)) {
        if (value === undefined) delete request.session!.attributes[name];
        else request.session!.attributes[name] = value;
      }
      throw new Error("the work's own");
    });
    await expect(work).rejects.toThrow("the work's own");
    await close(request);

    expect(await attributesOf(one, client.cookie)).toEqual(withoutAbsent({ ...initial, ...other }));
  });
});

const initial = { user: "anna", count: 0, cart: { n: 0 } };

const withoutAbsent = (attributes: object) =>
  Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));

describe("a refused change of a sticky session", () => {
  it("is told to the request whose attribute gave way, though another's change is being saved", async () => {
    const storage = gatedStorage("save");
    const { running, one, client, id } = await begin({
      mode: "sticky",
      onConflict: "fail",
      nodeIds: ["n1"],
      createStorage: storage.createStorage,
    });
    await running.start("app2").withSession(id, ({ attributes }) => {
      attributes.b = "theirs";
    });
    const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];

    first.session!.attributes.a = 1;
    const save = storage.holdNext();
    const closingFirst = close(first);
    await save.arrived;
    second.session!.attributes.b = "mine";
    const closingSecond = close(second);
    await running.clock.turn(0);
    save.letGo();

    expect((await closingFirst).outcome).toBe("stored");
    expect((await closingSecond).code).toBe("MSM_ERR_CONFLICT");
    expect(await attributesOf(one, client.cookie)).toMatchObject({ a: 1, b: "theirs" });
  });

  it("is told though the session is taken over at the same time", async () => {
    const storage = gatedStorage("save");
    const { running, one, client } = await begin({
      mode: "sticky",
      onConflict: "fail",
      nodeIds: ["n1"],
      createStorage: storage.createStorage,
    });
    const late = await open(one, client.cookie);
    const seen: number = late.session!.attributes.count;
    const moved = testClient(client.cookie);
    await moved.visit(running.start("app2"), (attributes) => {
      attributes.count = 5;
    });

    late.session!.attributes.count = seen + 1;
    const save = storage.holdNext();
    const closing = close(late);
    await save.arrived;
    const opening = open(one, moved.cookie); // the balancer has changed its mind
    await running.clock.turn(0);
    save.letGo();

    expect((await closing).code).toBe("MSM_ERR_CONFLICT");
    const next = await opening;
    expect(next.session!.attributes.count).toBe(5);
    await close(next);
  });

  it("is told to who changed an object that the refused request only held, and committed with its own", async () => {
    const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    const { cookie } = client;
    const [first, second] = [await open(one, cookie), await open(one, cookie)];
    expect(first.session!.attributes.cart).toEqual({ n: 0 });
    first.session!.attributes.count += 1;
    second.session!.attributes.cart.n = 7;
    second.session!.attributes.own = true;
    await testClient(cookie).visit(running.start("app2"), (attributes) => {
      attributes.count += 5;
    });

    const closed = await Promise.all([close(first), close(second)]);

    const stored = await attributesOf(running.start("app3"), cookie);
    expect(stored.count).toBe(5);
    expect(closed[0]!.code).toBe("MSM_ERR_CONFLICT");
    expect(closed[1]!.outcome === "failed" || stored.cart.n === 7).toBe(true);
  });

  it("is told to both that count on from each other, where a third one in another process was faster", async () => {
    const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];
    first.session!.attributes.count += 1;
    const moved = testClient(client.cookie);
    await moved.visit(running.start("app2"), (attributes) => {
      attributes.count = 5;
    });
    await moved.visit(one); // which brings the session of the other two up to date

    second.session!.attributes.count += 1;
    const closed = [await close(second), await close(first)];

    expect(closed.map(({ code }) => code)).toEqual(["MSM_ERR_CONFLICT", "MSM_ERR_CONFLICT"]);
    expect((await attributesOf(running.start("app3"), moved.cookie)).count).toBe(5);
  });

  it("is got out of by reload()", async () => {
    const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    const request = await open(one, client.cookie);
    request.session!.attributes.count += 1;
    await testClient(client.cookie).visit(running.start("app2"), (attributes) => {
      attributes.count += 5;
    });
    await expect(request.session!.save()).rejects.toMatchObject({ code: "MSM_ERR_CONFLICT" });

    await request.session!.reload();
    request.session!.attributes.count += 1;

    expect((await close(request)).outcome).toBe("stored");
    expect((await attributesOf(running.start("app3"), client.cookie)).count).toBe(6);
  });

  it("is told by regenerate() to who would keep it under the new id", async () => {
    const { one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    const late = await open(one, client.cookie);
    const seen: number = late.session!.attributes.count;
    await client.visit(one, (attributes) => {
      attributes.count = 5;
    });
    late.session!.attributes.count = seen + 1;

    await expect(late.session!.regenerate({ keep: "all" })).rejects.toMatchObject({
      code: "MSM_ERR_CONFLICT",
    });

    expect((await close(late)).code).toBe("MSM_ERR_CONFLICT");
    expect((await attributesOf(one, client.cookie)).count).toBe(5);
  });

  it("is told by regenerate() also where another process changed the same", async () => {
    const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    const [late, other] = [await open(one, client.cookie), await open(one, client.cookie)];
    late.session!.attributes.count = 1;
    await testClient(client.cookie).visit(running.start("app2"), (attributes) => {
      attributes.count = 5;
    });
    other.session!.attributes.own = true;
    expect((await close(other)).outcome).toBe("stored");

    await expect(late.session!.regenerate({ keep: "all" })).rejects.toMatchObject({
      code: "MSM_ERR_CONFLICT",
    });

    expect((await close(late)).code).toBe("MSM_ERR_CONFLICT");
    expect((await attributesOf(one, client.cookie)).count).toBe(5);
  });

  it("refuses nobody who only reads, however long other requests stay open", async () => {
    const { running, one, client, id } = await begin({ mode: "sticky", onConflict: "fail" });
    const stream = await open(one, client.cookie);
    await running.start("app2").withSession(id, ({ attributes }) => {
      attributes.cart = { n: 5 };
    });
    const refused = await client.visit(one, (attributes) => {
      attributes.cart = { n: 1 };
    });
    expect(refused.result.error?.code).toBe("MSM_ERR_CONFLICT");

    for (let i = 0; i < 3; i++) {
      const { result } = await client.visit(one, (attributes) => attributes.cart.n);
      expect(result).toEqual({ outcome: "unneeded" });
    }
    await close(stream);
  });

  it("is told where the attribute is assigned once more after it", async () => {
    const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    await client.visit(one, (attributes) => {
      attributes.items = ["first"];
    });
    const slow = await open(one, client.cookie);
    const seen: readonly string[] = slow.session!.attributes.items;
    await client.visit(one, (attributes) => {
      attributes.items = [...attributes.items, "quick"];
    });

    slow.session!.attributes.items = [...seen, "slow 1"];
    slow.session!.attributes.items = [...slow.session!.attributes.items, "slow 2"];

    expect((await close(slow)).outcome).toBe("failed");
    expect((await attributesOf(running.start("app2"), client.cookie)).items).toEqual(["first", "quick"]);
  });

  it("is told to who counts on from its own value, though a commit of its own took another's along", async () => {
    const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];
    first.session!.attributes.count += 1;
    const seen: number = first.session!.attributes.count;
    second.session!.attributes.count += 1;

    await first.session!.save();
    first.session!.attributes.count = seen + 1;

    expect((await close(first)).code).toBe("MSM_ERR_CONFLICT");
    expect((await close(second)).outcome).not.toBe("failed");
    expect((await attributesOf(running.start("app2"), client.cookie)).count).toBe(2);
  });

  it("is told to who counts once more, though another request's commit took the first increment along", async () => {
    const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];
    first.session!.attributes.count += 1;
    second.session!.attributes.count += 1;
    await testClient(client.cookie).visit(running.start("app2"), (attributes) => {
      attributes.count = 1;
    });
    expect((await close(first)).code).toBe("MSM_ERR_CONFLICT");

    second.session!.attributes.count += 1;

    expect((await close(second)).code).toBe("MSM_ERR_CONFLICT");
  });

  it("is told to who has lost the lock, where another increment follows it", async () => {
    const { running, one, client } = await begin({
      mode: "sticky",
      locking: "all",
      maxLeaseMs: 5000,
      lockTimeoutMs: 20_000,
    });
    const late = await open(one, client.cookie);
    const seen: number = late.session!.attributes.count;
    await running.clock.turn(6000);
    await client.visit(one, (attributes) => {
      attributes.count += 1;
    });

    late.session!.attributes.count = seen + 1;
    late.session!.attributes.count += 1;

    expect((await close(late)).outcome).toBe("failed");
    expect((await attributesOf(running.start("app2"), client.cookie)).count).toBe(1);
  });

  it("is told to every request that has a part in it, also where one changed something else as well", async () => {
    const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    const { cookie } = client;
    const [first, second] = [await open(one, cookie), await open(one, cookie)];
    first.session!.attributes.count += 1;
    second.session!.attributes.count += 1; // 2: it sees what the first one has not committed yet
    // The balancer sends a request to another process, which takes the session over.
    await testClient(cookie).visit(running.start("app2"), (attributes) => {
      attributes.count += 1;
    });

    const { outcome: outcomeOfSecond } = await second.commit();
    first.session!.attributes.own = true;
    const { outcome: outcomeOfFirst } = await first.commit();
    await Promise.all([first.end(), second.end()]);

    expect([outcomeOfFirst, outcomeOfSecond]).toEqual(["failed", "failed"]);
    expect((await attributesOf(running.start("app3"), cookie)).count).toBe(1);
  });
});

describe("one request that locked", () => {
  it("leaves those behind that never lock: none of them is refused for it", async () => {
    const { one, client } = await begin({ mode: "sticky", locking: /^\/slow/ });
    const overwrite = async (...counts: readonly number[]) => {
      const requests = await Promise.all(counts.map(() => open(one, client.cookie)));
      for (const { session } of requests) expect(session!.attributes.count).toBeTypeOf("number");
      const outcomes: string[] = [];
      for (const [i, request] of requests.entries()) {
        request.session!.attributes.count = counts[i];
        outcomes.push((await close(request)).outcome);
      }
      return outcomes;
    };
    expect(await overwrite(1, 1, 2)).not.toContain("failed");

    await close(await open(one, client.cookie, { url: "/slow" }));

    expect(await overwrite(3, 3, 4)).not.toContain("failed");
    expect((await attributesOf(one, client.cookie)).count).toBe(4);
  });

  it.each(modes)("overwrites nothing, though it has saved before and let the others in, %s", async (mode) => {
    const { running, one, client } = await begin({ mode, locking: "all" });
    const request = await open(one, client.cookie);
    request.session!.attributes.count = 1;
    await request.session!.save();
    await request.session!.release();
    await testClient(client.cookie).visit(running.start("app2"), (attributes) => {
      attributes.count += 10;
    });

    request.session!.attributes.count = 2;

    expect((await close(request)).code).toBe("MSM_ERR_CONFLICT");
    expect((await attributesOf(running.start("app3"), client.cookie)).count).toBe(11);
  });

  it("overwrites nothing, though its change is saved only after its end", async () => {
    const { running, one, client } = await begin({ mode: "sticky", locking: "all", nodeIds: ["n1"] });
    const late = await open(one, client.cookie);
    late.session!.attributes.count += 1;
    running.nodes.n1!.failNext(2, "MSM_ERR_STORAGE_REFUSED");
    expect((await close(late)).outcome).toBe("failed");
    const two = running.start("app2");
    await testClient(client.cookie).visit(two, (attributes) => {
      attributes.count += 5;
    });

    await running.clock.turn(5000); // what failed is tried again

    expect((await attributesOf(running.start("app3"), client.cookie)).count).toBe(5);
  });
});
