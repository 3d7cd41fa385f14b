import { MsmError, type RegenerateOptions, type Storage } from "@msm/core";
import { describe, expect, it } from "vitest";
import { attributesOf, begin, close, gatedStorage, homeOf, modes, open } from "./stage.js";

const renewal = { keep: "all", grace: true } as const;

/** A record's version, see the layout of records: the end of a session has the highest of all. */
const isEnd = (record: Uint8Array) => Buffer.from(record).toString("latin1", 2, 18) === "f".repeat(16);

/** Lets `meet` happen while a session's end is on its way to the node, once; it arrives before that, after it, or not at all. */
function meetEnd(node: Storage, arrives: "before" | "after" | "never", meet: () => Promise<unknown>): void {
  const { save } = node;
  node.save = async (...args) => {
    if (!isEnd(args[1])) return save.apply(node, args);
    node.save = save; // once
    if (arrives === "before") await save.apply(node, args);
    await meet();
    if (arrives === "after") return save.apply(node, args);
    throw new MsmError("MSM_ERR_STORAGE_TIMEOUT", "no answer");
  };
}

describe("what is saved under the old id while a session gets a new one", () => {
  it.each(modes)("goes along, also where another change is being handed on, %s", async (mode) => {
    const storage = gatedStorage("save");
    const { running, one, client } = await begin({
      mode,
      nodeIds: ["n1"],
      createStorage: storage.createStorage,
    });
    const old = client.cookie;
    const renewing = await open(one, old);
    await renewing.session!.regenerate(renewal);
    renewing.session!.attributes.own = 1;
    const early = await open(one, old);
    early.session!.attributes.early = 1;
    expect((await close(early)).outcome).toBe("stored");
    const late = await open(one, old);

    const first = storage.holdNext();
    const closing = close(renewing);
    await first.arrived;
    const handedOn = storage.holdNext();
    first.letGo();
    await handedOn.arrived;
    late.session!.attributes.late = 1;
    expect((await close(late)).outcome).toBe("stored");
    handedOn.letGo();

    const { outcome, cookie } = await closing;
    expect(outcome).toBe("stored");
    expect(await attributesOf(running.start("app2"), cookie)).toMatchObject({ own: 1, early: 1, late: 1 });
  });

  it.each([
    ["with grace", "n1", renewal],
    ["without", "n1", { keep: "all" } as const],
    ["with grace, and another node takes it", "n1,n2", renewal],
    ["without, and another node takes it", "n1,n2", { keep: "all" } as const],
  ])("goes along where the end got lost on its way to the node, %s", async (_, ids, options) => {
    const nodeIds = ids.split(",");
    const { running, one, client } = await begin({ mode: "sticky", nodeIds });
    const old = client.cookie;
    const renewing = await open(one, old);
    await renewing.session!.regenerate(options);
    const late = await open(one, old);
    meetEnd(running.nodes[homeOf(old)]!, "never", async () => {
      late.session!.attributes.late = 1;
      expect((await close(late)).outcome).toBe("stored");
    });

    const { outcome, cookie } = await close(renewing);

    expect(outcome).toBe("stored");
    const other = running.start("app2");
    expect((await attributesOf(other, cookie)).late).toBe(1);
    if (options !== renewal) expect(await attributesOf(other, old)).toEqual({});
  });

  it.each([
    ["with grace", renewal, "stored"],
    ["without", { keep: "all" } as const, "discarded"],
  ])("ends no renewal by meeting its end, whose answer was lost, %s", async (_, options, met) => {
    const { running, one, client } = await begin({ mode: "sticky", nodeIds: ["n1"] });
    const renewing = await open(one, client.cookie);
    await renewing.session!.regenerate(options);
    const late = await open(one, client.cookie);
    meetEnd(running.nodes.n1!, "before", async () => {
      late.session!.attributes.late = 1;
      expect((await close(late)).outcome).toBe(met);
    });

    const { outcome, cookie } = await close(renewing);

    expect(outcome).toBe("stored");
    expect((await attributesOf(running.start("app2"), cookie)).user).toBe("anna");
  });

  it("goes along though the end got lost twice, also what is saved after that", async () => {
    const { running, one, client } = await begin({ mode: "sticky", nodeIds: ["n1"] });
    const renewing = await open(one, client.cookie);
    await renewing.session!.regenerate(renewal);
    const late = await open(one, client.cookie);
    const node = running.nodes.n1!;
    meetEnd(node, "never", async () => meetEnd(node, "never", async () => {}));

    const { outcome, cookie } = await close(renewing);
    late.session!.attributes.late = 1;

    expect([outcome, (await close(late)).outcome]).toEqual(["stored", "stored"]);
    expect((await attributesOf(running.start("app2"), cookie)).late).toBe(1);
  });

  it("ends no renewal by meeting its end, which was lost before, and then its answer", async () => {
    const { running, one, client } = await begin({ mode: "sticky", nodeIds: ["n1"] });
    const renewing = await open(one, client.cookie);
    await renewing.session!.regenerate(renewal);
    const node = running.nodes.n1!;
    const fromElsewhere = client.cookie!.replace("app1", "app2"); // so that the node is asked
    meetEnd(node, "never", async () =>
      meetEnd(node, "before", async () => expect((await attributesOf(one, fromElsewhere)).user).toBe("anna")),
    );

    const { outcome, cookie } = await close(renewing);

    expect(outcome).toBe("stored");
    expect((await attributesOf(running.start("app2"), cookie)).user).toBe("anna");
  });

  it.each([
    ["with grace", renewal],
    ["without", { keep: "all" } as const],
  ])('goes along under backup "async", whose requests are answered before, %s', async (_, options) => {
    const { running, one, client } = await begin({ mode: "sticky", nodeIds: ["n1"], backup: "async" });
    const renewing = await open(one, client.cookie);
    await renewing.session!.regenerate(options);
    const late = await open(one, client.cookie);
    meetEnd(running.nodes.n1!, "after", async () => {
      late.session!.attributes.late = 1;
      expect((await close(late)).outcome).toBe("stored");
    });

    const { cookie } = await close(renewing);
    await running.clock.turn(0);

    expect((await attributesOf(running.start("app2"), cookie)).late).toBe(1);
  });

  it('is kept under backup "async" where it meets a conflict with another process, as nobody can be told any more', async () => {
    const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail", backup: "async" });
    const late = await open(one, client.cookie);
    const other = running.start("app2");
    await client.visit(other, async (attributes, session) => {
      await session.regenerate(renewal);
      attributes.count = 1;
    });

    Object.assign(late.session!.attributes, { count: 2, late: true });
    expect((await close(late)).outcome).toBe("stored");
    await running.clock.turn(0);

    const cookie = client.cookie!.replace("app2", "app1");
    expect(await attributesOf(running.start("app3"), cookie)).toMatchObject({ count: 2, late: true });
  });

  it.each([
    ["with grace", renewal, { code: "MSM_ERR_CONFLICT" }],
    ["without", { keep: "all" } as const, { outcome: "discarded" }],
  ])('is told under backup "async" while the end is on its way, %s', async (_, renews, told) => {
    const { running, one, client } = await begin({
      ...{ mode: "sticky", onConflict: "fail", backup: "async", nodeIds: ["n1"] },
    });
    const [renewing, late] = [await open(one, client.cookie), await open(one, client.cookie)];
    await renewing.session!.regenerate(renews);
    renewing.session!.attributes.count = 1;
    const node = running.nodes.n1!;
    const { save } = node;
    let closing: ReturnType<typeof close> | undefined;
    node.save = async (...args) => {
      const saved = await save.apply(node, args);
      if (!isEnd(args[1])) return saved;
      node.save = save; // once
      late.session!.attributes.count = 2;
      closing = close(late);
      await running.clock.turn(0);
      return saved;
    };

    const { outcome, cookie } = await close(renewing);

    expect([outcome, await closing]).toMatchObject(["stored", told]);
    expect((await attributesOf(running.start("app2"), cookie)).count).toBe(1);
  });

  it("is no conflict of two requests that go along together and changed different attributes", async () => {
    const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];
    await client.visit(one, (_, session) => session.regenerate(renewal));

    first.session!.attributes.first = 1;
    second.session!.attributes.second = 2;
    const closed = await Promise.all([close(first), close(second)]);

    expect(closed.map(({ outcome }) => outcome)).toEqual(["stored", "stored"]);
    expect(await attributesOf(running.start("app2"), client.cookie)).toMatchObject({ first: 1, second: 2 });
  });
});

describe("a renewal that has ended the old id beside a change there", () => {
  /** The end is on the node, and its answer comes when another request has changed the session, and `then` was called. */
  async function endBesideAnother(
    renews: RegenerateOptions,
    more: Record<string, unknown>,
    then: () => void,
  ) {
    const { running, one, client } = await begin({ mode: "sticky", nodeIds: ["n1"], ...more });
    const old = client.cookie;
    const [renewing, late] = [await open(one, old), await open(one, old)];
    await renewing.session!.regenerate(renews);
    renewing.session!.attributes.count = 1;
    const node = running.nodes.n1!;
    const { save } = node;
    node.save = async (...args) => {
      const saved = await save.apply(node, args);
      if (!isEnd(args[1])) return saved;
      node.save = save; // once
      then();
      late.session!.attributes.count = 7;
      void close(late);
      await running.clock.turn(0);
      return saved;
    };
    const fail = () => {
      node.save = () => Promise.reject(new MsmError("MSM_ERR_STORAGE_TIMEOUT", "no answer"));
      return () => {
        node.save = save;
      };
    };
    return { running, renewing, old, fail };
  }

  it("has worked, and is in no conflict with that", async () => {
    const { running, renewing } = await endBesideAnother({ keep: "all" }, { onConflict: "fail" }, () => {});

    const { outcome, cookie } = await close(renewing);

    expect(outcome).toBe("stored");
    expect((await attributesOf(running.start("app2"), cookie)).count).toBe(1);
  });

  it.each([
    ["without grace", { keep: "all" } as const, false],
    ["without grace, with one more", { keep: "all" } as const, true],
    ["with grace", renewal, false],
    ["with grace, with one more", renewal, true],
  ])("does not take that for another's end where it is tried again, %s", async (_, renews, again) => {
    let succeed = () => {};
    const { running, renewing, old, fail } = await endBesideAnother(renews, {}, () => {
      succeed = fail();
    });
    expect((await renewing.commit()).outcome).toBe("failed");
    succeed();
    if (again) await renewing.session!.regenerate(renews);

    const { outcome, cookie } = await close(renewing);

    const other = running.start("app2");
    expect(outcome).not.toBe("discarded");
    expect((await attributesOf(other, cookie)).user).toBe("anna");
    expect((await attributesOf(other, old)).user).toBe(renews === renewal ? "anna" : undefined);
  });
});

it("what two requests changed goes along together to the new id that another process gave", async () => {
  const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail" });
  const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];
  const other = running.start("app2");
  await client.visit(other, (_, session) => session.regenerate(renewal));

  first.session!.attributes.count += 1;
  second.session!.attributes.count += 1;
  const closed = await Promise.all([close(first), close(second)]);

  expect(closed.map(({ outcome }) => outcome)).toEqual(["stored", "stored"]);
  expect((await attributesOf(other, closed[1]!.cookie)).count).toBe(2);
});

it("what a request changed goes along though its process has heard of the new id before", async () => {
  const { running, one, client } = await begin({ mode: "sticky" });
  const slow = await open(one, client.cookie);
  const other = running.start("app2");
  await client.visit(other, (_, session) => session.regenerate(renewal));
  await running.clock.turn(2000); // so long takes the news that another process ended what this one has in memory

  slow.session!.attributes.slow = 1;

  const { outcome, cookie } = await close(slow);
  expect(outcome).toBe("stored");
  expect((await attributesOf(other, cookie)).slow).toBe(1);
});

describe("what goes along and meets another process' change of the same under the new id", () => {
  async function meetElsewhere() {
    const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];
    await client.visit(one, (_, session) => session.regenerate(renewal));
    const other = running.start("app2");
    await client.visit(other, (attributes) => {
      attributes.count += 1;
    });
    return { other, client, first, second };
  }

  it("is refused, and its request is told so", async () => {
    const { other, client, first } = await meetElsewhere();

    first.session!.attributes.count += 1;

    expect(await close(first)).toMatchObject({ outcome: "failed", code: "MSM_ERR_CONFLICT" });
    expect((await attributesOf(other, client.cookie)).count).toBe(1);
  });

  it("is refused to both requests where one took the other's along", async () => {
    const { other, client, first, second } = await meetElsewhere();

    first.session!.attributes.count += 1;
    second.session!.attributes.count += 1;
    second.session!.attributes.own = true;
    const closed = await Promise.all([close(first), close(second)]);

    expect(closed.map(({ code }) => code)).toEqual(["MSM_ERR_CONFLICT", "MSM_ERR_CONFLICT"]);
    expect(await attributesOf(other, client.cookie)).toMatchObject({ count: 1 });
  });
});

it.each(modes)("a renewal that another one overtook takes no cookie from the client, %s", async (mode) => {
  const { one, client } = await begin({ mode });
  const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];
  await first.session!.regenerate({ keep: "all" });
  await second.session!.regenerate({ keep: "all" });

  const overtaking = await close(first);
  const overtaken = await close(second);

  expect([overtaking.outcome, overtaken.outcome]).toEqual(["stored", "discarded"]);
  expect(overtaken.cookie).toBeUndefined();
  expect((await attributesOf(one, overtaking.cookie)).user).toBe("anna");
});

describe("a save under the old id that the end of it meets on the node", () => {
  /** Lets `meet` happen before the node's next answer to who looks at a record, which it has given by then. */
  function meetLook(node: Storage, meet: () => Promise<unknown>): void {
    const { load } = node;
    node.load = async (...args) => {
      node.load = load; // once
      const answer = await load.apply(node, args);
      await meet();
      return answer;
    };
  }

  async function meetOnTheNode() {
    const storage = gatedStorage("save");
    const { running, one, client } = await begin({
      ...{ mode: "sticky", onConflict: "fail", nodeIds: ["n1"] },
      createStorage: storage.createStorage,
    });
    const renewing = await open(one, client.cookie);
    const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];
    await renewing.session!.regenerate(renewal);
    // The node has the first one's change, and the process does not know it yet.
    const saved = storage.holdNext("before its answer");
    first.session!.attributes.count = 1;
    const closing = close(first);
    await saved.arrived;
    return { running, one, renewing, first: { closing, saved }, second };
  }

  it("counts, and so does the next one, which the node had not yet when it was asked", async () => {
    const { running, renewing, first, second } = await meetOnTheNode();
    const outcomes: unknown[] = [];
    meetLook(running.nodes.n1!, async () => {
      first.saved.letGo();
      outcomes.push(await first.closing);
      second.session!.attributes.count += 1;
      outcomes.push(await close(second));
    });

    const { outcome, cookie } = await close(renewing);

    expect(outcomes).toMatchObject([{ outcome: "stored" }, { outcome: "stored" }]);
    expect(outcome).toBe("stored");
    expect((await attributesOf(running.start("app2"), cookie)).count).toBe(2);
  });

  it("is no conflict with itself, though its answer is yet to come", async () => {
    const { running, renewing, first, second } = await meetOnTheNode();

    const { outcome, cookie } = await close(renewing);
    first.saved.letGo();
    second.session!.attributes.count += 1;

    expect(outcome).toBe("stored");
    expect((await first.closing).outcome).toBe("stored");
    expect((await close(second)).outcome).toBe("stored");
    expect((await attributesOf(running.start("app2"), cookie)).count).toBe(2);
  });
});
