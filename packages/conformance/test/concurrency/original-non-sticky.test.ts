import { createSessionManager, type SessionManager, type SessionManagerOptions } from "@msm/core";
import { afterEach, describe, expect, it } from "vitest";
import {
  type Cluster,
  type ClusterOptions,
  cluster,
  freshToken,
  memcachedCommand,
  needsProgram,
  startServer,
} from "../../src/index.js";
import { browser, watched } from "./browser.js";

// The non-sticky behaviours of memcached-session-manager, by their numbers in docs/original-behaviours.md.

let closings: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closings.reverse()) await close();
  closings = [];
});

const start = (options: ClusterOptions = {}): Cluster => {
  const running = cluster(options);
  closings.push(() => running.close());
  return running;
};

type Locking = NonNullable<SessionManagerOptions["locking"]>;

const withLocks: readonly (readonly [string, Locking])[] = [
  ["all", "all"],
  ["auto", "auto"],
  ["a pattern", /.*/],
];
const withAndWithoutLocks: typeof withLocks = [...withLocks, ["optimistic", "optimistic"], ["none", "none"]];

const hintOf = (cookie: string | undefined) => cookie!.split("-")[1]!;
const idOf = (cookie: string | undefined) => cookie!.split("-")[0]!;

const dayMs = 24 * 60 * 60 * 1000;
const neverMs = 3650 * dayMs;

const { skip, reason } = needsProgram("memcached");

describe.skipIf(skip).each(withLocks)(`on memcached, locking %s${reason}`, (_, locking) => {
  const startServers = (count: number) =>
    Promise.all(
      Array.from({ length: count }, async () => {
        const server = await startServer(memcachedCommand());
        closings.push(() => server.close());
        return server;
      }),
    );
  const startManager = (options: Partial<SessionManagerOptions>): SessionManager => {
    const manager = createSessionManager({
      secret: "the secret of this test, of 32 bytes and more",
      operationTimeoutMs: 5000,
      lockTimeoutMs: 20_000,
      locking,
      ...options,
    } as SessionManagerOptions);
    closings.push(() => manager.close());
    return manager;
  };

  it.each([
    ["original 99: a session that never expires in practice outlives its node", neverMs],
    ["original 100: so does one whose idle timeout is more than memcached's 30 days", 31 * dayMs],
  ])("%s", async (_title, idleTimeoutMs) => {
    const servers = await startServers(2);
    const nodes = servers.map(({ port }, index) => ({ id: `n${index + 1}`, url: `127.0.0.1:${port}` }));
    const manager = startManager({ nodes, idleTimeoutMs });
    const visitor = browser();
    await visitor.ask(manager, "POST /put", (attributes) => {
      attributes.k1 = "v1";
    });
    const first = await visitor.ask(manager, "GET /get");
    expect(first.session?.attributes.k1).toBe("v1");
    const before = visitor.cookie;

    await servers[nodes.findIndex(({ id }) => id === hintOf(before))]!.kill();
    const second = await visitor.ask(manager, "GET /get");

    expect(second.session?.attributes.k1).toBe("v1");
    expect(idOf(visitor.cookie)).toBe(idOf(before));
    expect(hintOf(visitor.cookie)).not.toBe(hintOf(before));
  });

  it("original 101: one node that was given no id serves and keeps a session", async () => {
    const [server] = await startServers(1);
    const manager = startManager({ nodes: `127.0.0.1:${server!.port}` });
    const visitor = browser();

    await visitor.ask(manager, "POST /put", (attributes) => {
      attributes.k1 = "v1";
    });
    const { cookie } = visitor;
    await visitor.ask(manager, "GET /get");
    await visitor.ask(manager, "POST /put", (attributes) => {
      attributes.k2 = "v2";
    });
    const { session } = await visitor.ask(manager, "GET /get");

    expect(visitor.cookie).toBe(cookie);
    expect({ ...session?.attributes }).toEqual({ k1: "v1", k2: "v2" });
  });
});

describe.each(withLocks)("with locks: %s", (_, locking) => {
  it("original 102: a request waits for those of its own process and of another, and sees what they changed", async () => {
    const { start: process, clock } = start({ locking });
    const [one, two] = [process(), process()];
    const visitor = browser();
    await visitor.ask(one, "POST /put", (attributes) => {
      attributes.k1 = "v1";
    });

    const slow = await visitor.open(one, "POST /slow");
    const sameProcess = watched(visitor.open(one, "POST /put"));
    const otherProcess = watched(visitor.open(two, "GET /get"));
    await clock.turn(500);
    expect([sameProcess.isWaiting, otherProcess.isWaiting]).toEqual([true, true]);
    slow.session!.attributes.k2 = "v2";
    await visitor.finish(slow);
    const next = await sameProcess.exchange;
    next.session!.attributes.k3 = "v3";
    expect((await visitor.finish(next)).result.outcome).toBe("stored");
    await clock.turn(500);
    const { session } = await visitor.finish(await otherProcess.exchange);

    expect({ ...session?.attributes }).toEqual({ k1: "v1", k2: "v2", k3: "v3" });
  });

  it("original 110: when a request is answered, its session is on two nodes, and its lease is free", async () => {
    const { start: process, nodes } = start({ locking });
    const manager = process();
    const visitor = browser();
    await visitor.ask(manager, "POST /put", (attributes) => {
      attributes.k1 = "v1";
    });

    await visitor.ask(manager, "POST /put", (attributes) => {
      attributes.k1 = "v2";
    });

    const key = nodes.n1!.calls.find((call) => call.key !== undefined)!.key!;
    const records = await Promise.all(
      Object.values(nodes).map((node) => node.load(key, { lease: { token: freshToken(), ttlMs: 3000 } })),
    );
    expect(records.map(({ kind }) => kind)).toEqual(["found", "found"]);
    const versions = records.map((record) => (record.kind === "found" ? record.revision.version : undefined));
    expect(versions[0]).toBe(versions[1]);
  });
});

it.each([...withLocks, ["optimistic", "optimistic"] as const])(
  "original 105: a slow request in one process and a quick one in another both keep what they changed, locking %s",
  async (_, locking) => {
    const { start: process, clock } = start({ locking });
    const [one, two] = [process(), process()];
    const visitor = browser();
    await visitor.ask(one, "POST /put", (attributes) => {
      attributes.k1 = "v1";
    });

    const slow = await visitor.open(one, "POST /slow");
    const quick = visitor.ask(two, "POST /put", (attributes) => {
      attributes.k3 = "v3";
    });
    await clock.turn(100);
    slow.session!.attributes.k2 = "v2";
    expect((await visitor.finish(slow)).result.outcome).toBe("stored");
    await clock.turn(500);
    expect((await quick).result.outcome).toBe("stored");

    const { session } = await visitor.ask(one, "GET /get");
    expect({ ...session?.attributes }).toEqual({ k1: "v1", k2: "v2", k3: "v3" });
  },
);

it("original 103: a request that never touches its session costs one read, and one trip to give the lease back", async () => {
  const { start: process, takeCounts } = start();
  const visitor = browser();
  await visitor.ask(process(), "POST /put", (attributes) => {
    attributes.k1 = "v1";
  });
  const optimistic = process();
  const locking = process(undefined, { locking: "all" });
  // The first read of a session in a process looks after the copy as well.
  await visitor.ask(optimistic, "GET /noSessionAccess");
  await visitor.ask(locking, "GET /noSessionAccess");
  takeCounts();

  const { result, setCookie } = await visitor.ask(optimistic, "GET /noSessionAccess");
  expect(takeCounts()).toEqual({ load: 1 });
  await visitor.ask(locking, "GET /noSessionAccess");
  expect(takeCounts()).toEqual({ load: 1, unlock: 1 });

  expect(result.outcome).toBe("unneeded");
  expect(setCookie).toBeUndefined();
});

it.each(withAndWithoutLocks)(
  "original 104: a process never serves what another has changed since, locking %s",
  async (_, locking) => {
    const { start: process } = start({ locking });
    const [one, two] = [process(), process()];
    const visitor = browser();
    await visitor.ask(one, "POST /put", (attributes) => {
      attributes.foo = "bar";
    });
    const { cookie } = visitor;

    await visitor.ask(two, "POST /put", (attributes) => {
      attributes.foo = "baz";
    });

    expect((await visitor.ask(one, "GET /get")).session?.attributes.foo).toBe("baz");
    expect(visitor.cookie).toBe(cookie);
  },
);

describe("locking auto", () => {
  it("original 106: requests that were seen to only read run at the same time, also while another one writes", async () => {
    const { start: process, clock } = start({ locking: "auto" });
    const manager = process();
    const visitor = browser();
    await visitor.ask(manager, "POST /put", (attributes) => {
      attributes.k1 = "v1";
    });

    const unlearned = await visitor.open(manager, "GET /get?item=1");
    const second = watched(visitor.open(manager, "GET /get?item=1"));
    await clock.turn(500);
    expect(second.isWaiting, "a route that is not known may write").toBe(true);
    await visitor.finish(unlearned);
    await visitor.finish(await second.exchange);
    await visitor.ask(manager, "GET /get?item=2");

    const writing = await visitor.open(manager, "POST /put");
    const reading = [
      await visitor.open(manager, "GET /get?item=3"),
      await visitor.open(manager, "GET /get?item=4"),
    ];
    expect(reading.map((exchange) => exchange.session?.attributes.k1)).toEqual(["v1", "v1"]);
    expect(writing.session?.isLocked).toBe(true);
    writing.session!.attributes.k1 = "v2";
    expect((await visitor.finish(writing)).result.outcome).toBe("stored");
    for (const exchange of reading) {
      expect((await visitor.finish(exchange)).result.outcome).toBe("unneeded");
    }
  });

  it("original 119: a session that a request ended leaves neither a cookie nor a lease behind", async () => {
    const { start: process, nodes, clock } = start({ locking: "auto" });
    const [one, two] = [process(), process()];
    const visitor = browser();
    await visitor.ask(one, "POST /put", (attributes) => {
      attributes.k1 = "v1";
    });
    const stolen = browser(visitor.cookie);

    const ending = await visitor.open(one, "GET /invalidate");
    const waiting = [watched(stolen.open(one, "POST /put")), watched(stolen.open(two, "POST /put"))];
    await clock.turn(100);
    await ending.session!.destroy();
    const { setCookie } = await visitor.finish(ending);
    await clock.turn(500);

    expect(setCookie).toMatch(/^sid=;/);
    expect(
      waiting.map(({ isWaiting }) => isWaiting),
      "nobody waits for the end of the lease",
    ).toEqual([false, false]);
    for (const { exchange } of waiting) {
      expect((await exchange).session?.isNew).toBe(true);
      await (await exchange).end();
    }
    const key = nodes.n1!.calls.find((call) => call.key !== undefined)!.key!;
    for (const node of Object.values(nodes)) {
      const loaded = await node.load(key, { lease: { token: freshToken(), ttlMs: 3000 } });
      expect(loaded).toMatchObject({ kind: "found", revision: { version: "f".repeat(16) } });
    }
  });
});

it("original 107: requests whose path the pattern matches lock, and the others pass them by", async () => {
  const { start: process, clock } = start({ locking: /^\/locksession/ });
  const [one, two] = [process(), process()];
  const visitor = browser();
  await visitor.ask(one, "POST /put", (attributes) => {
    attributes.k1 = "v1";
  });

  const locking = await visitor.open(one, "GET /locksession?slow");
  const alsoLocking = [
    watched(visitor.open(one, "GET /locksession/a")),
    watched(visitor.open(two, "GET /locksession/b")),
  ];
  const passing = await visitor.open(one, "GET /slow");
  const { session } = await visitor.ask(two, "GET /get?then=/locksession");
  await clock.turn(500);

  expect(session?.attributes.k1).toBe("v1");
  expect([locking, passing].map((exchange) => exchange.session?.isLocked)).toEqual([true, false]);
  expect(alsoLocking.map(({ isWaiting }) => isWaiting)).toEqual([true, true]);
  locking.session!.attributes.k1 = "v2";
  passing.session!.attributes.k2 = "v2";
  expect((await visitor.finish(passing)).result.outcome).toBe("stored");
  expect((await visitor.finish(locking)).result.outcome).toBe("stored");
  for (const { exchange } of alsoLocking) {
    await clock.turn(500);
    const { session: later } = await visitor.finish(await exchange);
    expect({ ...later?.attributes }).toEqual({ k1: "v2", k2: "v2" });
  }
});

it.each(withAndWithoutLocks)(
  "original 108: a session that is only read lives on from each read, locking %s",
  async (_, locking) => {
    const { start: process, clock } = start({ locking, idleTimeoutMs: 1000 });
    const manager = process();
    const visitor = browser();
    await visitor.ask(manager, "POST /put", (attributes) => {
      attributes.k1 = "v1";
    });
    const { cookie } = visitor;

    for (const pauseMs of [0, 0, 500, 500, 999]) {
      await clock.turn(pauseMs);
      expect((await visitor.ask(manager, "GET /get")).session?.isNew).toBe(false);
    }
    expect(visitor.cookie).toBe(cookie);
    await clock.turn(1001);

    expect((await visitor.ask(manager, "GET /get")).session?.isNew).toBe(true);
  },
);

it("original 109: the id is taken from the cookie, each time the same, and never from the URL", async () => {
  const { start: process } = start();
  const manager = process();
  const visitor = browser();
  const { session: first } = await visitor.ask(manager, "POST /put", (attributes) => {
    attributes.k1 = "v1";
  });

  for (let times = 0; times < 2; times++) {
    const { session } = await visitor.ask(manager, "GET /requestedSessionInfo");
    expect(session).toMatchObject({ id: first!.id, isNew: false });
  }
  const stranger = await browser().ask(manager, `GET /requestedSessionInfo;jsessionid=${visitor.cookie}`);
  expect(stranger.session?.isNew).toBe(true);
  expect(stranger.session?.id).not.toBe(first!.id);
});

describe("three nodes", () => {
  /** A session on its first node, the nodes in the order of its ring. */
  const onThreeNodes = async () => {
    const running = start({ nodeIds: ["n1", "n2", "n3"] });
    const manager = running.start();
    const visitor = browser();
    await visitor.ask(manager, "POST /put", (attributes) => {
      attributes.value = "v1";
    });
    const ids = Object.keys(running.nodes);
    const primary = ids.indexOf(hintOf(visitor.cookie));
    const ring = [0, 1, 2].map((step) => running.nodes[ids[(primary + step) % 3]!]!);
    const key = ring[0]!.calls.find((call) => call.key !== undefined)!.key!;
    const kinds = () => Promise.all(ring.map(async (node) => (await node.load(key)).kind));
    return { ...running, manager, visitor, ring, kinds };
  };

  it("original 111: a copy whose node is lost is written to the next one, and the session outlives its first node too", async () => {
    const { manager, visitor, ring, kinds, clock } = await onThreeNodes();
    expect(await kinds()).toEqual(["found", "found", "absent"]);
    const before = visitor.cookie;

    ring[1]!.goDown();
    const { result } = await visitor.ask(manager, "POST /put", (attributes) => {
      attributes.value = "v2";
    });
    expect(result.outcome).toBe("stored");
    expect(visitor.cookie).toBe(before);
    ring[0]!.goDown();
    await clock.turn(2000);
    const { session } = await visitor.ask(manager, "GET /get");

    expect(session?.attributes.value).toBe("v2");
    expect(idOf(visitor.cookie)).toBe(idOf(before));
    expect(hintOf(visitor.cookie)).not.toBe(hintOf(before));
  });

  it("original 112: a read is enough for that", async () => {
    const { manager, visitor, ring, clock } = await onThreeNodes();

    ring[1]!.goDown();
    await clock.turn(2000);
    await visitor.ask(manager, "GET /get");
    await clock.turn(100);
    ring[0]!.goDown();
    await clock.turn(2000);
    const { session } = await visitor.ask(manager, "GET /get");

    expect(session?.attributes.value).toBe("v1");
  });
});

it("original 113: on one node, a session that is made costs one write", async () => {
  const { start: process, takeCounts } = start({ nodeIds: ["n1"] });

  await browser().ask(process(), "POST /put", (attributes) => {
    attributes.k1 = "v1";
  });

  expect(takeCounts()).toEqual({ save: 1 });
});
