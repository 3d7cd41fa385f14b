import { randomUUID } from "node:crypto";
import type { CarriedSession, SessionManager, SessionTokens } from "@msm/core";
import { afterEach, describe, expect, it } from "vitest";
import { type Cluster, type ClusterOptions, cluster } from "../../src/index.js";

let running: Cluster | undefined;
const start = (options: ClusterOptions = {}) => {
  running = cluster(options);
  return running;
};
afterEach(async () => {
  await running?.close();
  running = undefined;
});

/** Names a session by its id alone, as other session libraries do. A test trusts whoever sends it. */
const idAlone: SessionTokens = {
  read: (header): CarriedSession | undefined => {
    const value = /^sid=(.+)$/.exec(header ?? "")?.[1];
    return value === undefined ? undefined : { id: value, value };
  },
  value: (id) => id,
};

const open = (manager: SessionManager, cookie?: string, more: object = {}) =>
  manager.open({
    method: "GET",
    url: "/",
    secure: false,
    cookieHeader: cookie === undefined ? undefined : `sid=${cookie}`,
    ...more,
  });

/** Counts in one request. @returns the cookie's value, where one was set, and the count */
async function count(manager: SessionManager, cookie?: string, more: object = {}) {
  const exchange = await open(manager, cookie, more);
  const attributes = exchange.session!.attributes;
  attributes.n = (attributes.n ?? 0) + 1;
  const { outcome } = await exchange.commit();
  const set = /^sid=([^;]*)/.exec(exchange.cookie() ?? "")?.[1];
  await exchange.end();
  return { outcome, set, n: attributes.n as number };
}

describe.each(["non-sticky", "sticky"] as const)(
  "%s: a session whose client names it by its id alone",
  (mode) => {
    const tokens = { tokens: idAlone };

    it("is found by any process, and its client is told of it once", async () => {
      const { start: process } = start({ mode });
      const [one, two] = [process(), process()];

      const first = await count(one, undefined, tokens);
      const second = await count(two, first.set, tokens);
      const third = await count(one, first.set, tokens);

      expect(first.set).toMatch(/^[0-9a-f]{48}$/);
      expect([second.set, third.set]).toEqual([undefined, undefined]);
      expect([first.n, second.n, third.n]).toEqual([1, 2, 3]);
    });

    it.each(["n1", "n2"])("survives the loss of node %s", async (id) => {
      const { start: process, nodes } = start({ mode });
      const [one, two] = [process(), process()];
      const { set } = await count(one, undefined, tokens);
      // Sticky has one backup: a node that dies with it does so behind the owner's back, who still has the session.
      const next = mode === "sticky" ? one : two;

      nodes[id]!.goDown();

      expect(await count(next, set, tokens)).toMatchObject({ n: 2, outcome: "stored" });
    });

    it("does not come back once it has ended", async () => {
      const { start: process } = start({ mode });
      const [one, two] = [process(), process()];
      const { set } = await count(one, undefined, tokens);

      const exchange = await open(two, set, tokens);
      await exchange.session!.destroy();
      await exchange.commit();
      await exchange.end();

      expect((await open(one, set, tokens)).session!.attributes.n).toBeUndefined();
    });
  },
);

describe.each(["non-sticky", "sticky"] as const)("%s: an id that the application makes", (mode) => {
  const strange = "!user:7|{a-n1.b}~/+=#$%&'*^_`";

  it.each([strange, randomUUID(), "x", "y".repeat(128)])(
    "%s goes out in the cookie, and comes back",
    async (id) => {
      const { start: process } = start({ mode });
      const [one, two] = [process(), process()];

      const first = await count(one, undefined, { newId: () => id });
      const exchange = await open(two, first.set);

      expect(first.set).toContain(id);
      expect(exchange.session!.id).toBe(id);
      expect(exchange.session!.attributes.n).toBe(1);
      await exchange.end();
      expect(await two.withSession(id, (session) => session.attributes.n)).toBe(1);
    },
  );

  it("is made while the session is as the request has it", async () => {
    const { start: process } = start({ mode });
    const manager = process();
    const { set } = await count(manager);

    const renewing = await open(manager, set, { newId: () => `of-${renewing.session!.attributes.user}` });
    renewing.session!.attributes.user = "ann";
    await renewing.session!.regenerate();
    await renewing.end();

    expect(renewing.session!.id).toBe("of-ann");
    expect(renewing.session!.attributes.user).toBeUndefined();
  });

  it("leads on to the next one for a while after a renewal", async () => {
    const { start: process } = start({ mode });
    const manager = process();
    let made = 0;
    const newId = () => `${strange}${made++}`;
    const { set } = await count(manager, undefined, { newId });

    const renewing = await open(manager, set, { newId });
    await renewing.session!.regenerate({ keep: true, grace: true });
    await renewing.commit();
    await renewing.end();
    const late = await open(process(), set, { newId });

    expect([late.session!.id, late.session!.attributes.n]).toEqual([`${strange}1`, 1]);
    await late.end();
  });

  it.each([
    ["", "a string of 0 characters"],
    ["z".repeat(129), "a string of 129 characters"],
    ["two words", "a string of 9 characters"],
    ["a;b", "a string of 3 characters"],
    [7, "number"],
  ])("%j is refused", async (id, got) => {
    const { start: process } = start({ mode });

    await expect(open(process(), undefined, { newId: () => id })).rejects.toThrow(
      expect.objectContaining({ code: "MSM_ERR_OPTION", message: expect.stringContaining(`got ${got}`) }),
    );
  });
});

describe("a cookie", () => {
  it("goes out again with each response that asks for it, once the session is stored", async () => {
    const { start: process } = start();
    const manager = process();

    const empty = await open(manager);
    await empty.commit();
    expect(empty.cookie({ renew: true })).toBeUndefined();
    await empty.end();

    const { set } = await count(manager);
    const read = await open(manager, set);
    await read.commit();
    expect(read.cookie()).toBeUndefined();
    expect(read.cookie({ renew: true })).toContain(`sid=${set}`);
    await read.end();
  });

  it("that lasts goes out again with each change, unless this one is to end with the browser", async () => {
    const { start: process } = start({ cookie: { maxAgeMs: 60_000 } });
    const manager = process();
    const { set } = await count(manager);
    const changed = async (forget: boolean) => {
      const exchange = await open(manager, set);
      const session = exchange.session!;
      session.attributes.n += 1;
      if (forget) session.cookieMaxAgeMs = undefined;
      await exchange.commit();
      const cookies = [exchange.cookie(), exchange.cookie({ renew: true })];
      await exchange.end();
      return cookies;
    };

    expect((await changed(false))[0]).toContain("Max-Age=60");
    const [unasked, asked] = await changed(true);
    expect(unasked).toBeUndefined();
    expect(asked).not.toContain("Max-Age");
  });

  it("can be read without a request of its own", async () => {
    const { start: process } = start();
    const manager = process();
    const { set } = await count(manager);

    const carried = manager.tokens.read(`a=b; sid=${set}`);

    expect(await manager.withSession(carried!.id, ({ attributes }) => attributes.n)).toBe(1);
    expect(manager.tokens.read(`sid=${set}x`)).toBeUndefined();
    expect(manager.tokens.value(carried!.id, carried!.node!, undefined)).toBe(set);
  });
});
