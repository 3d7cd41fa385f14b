import { needsProgram, waitUntil } from "@msm/conformance";
import {
  type Cluster,
  type ClusterOptions,
  type MemberReport,
  type StorageKind,
  startCluster,
} from "@msm/samples";
import { afterEach, describe, expect, it } from "vitest";
import { Tally } from "./tally.js";
import { Visitor } from "./visitor.js";

const wantedCounts = 200;
const mostUnanswered = 100;

/** The numbers of acknowledged clicks at which something is done to the cluster. */
const killAppAt = 50;
const killNodeAt = 100;
const restartAt = 150;

const clusters: Cluster[] = [];

afterEach(async () => {
  await Promise.all(clusters.splice(0).map((cluster) => cluster.stop()));
});

const programs: Record<StorageKind, string | undefined> = {
  embedded: undefined,
  memcached: "memcached",
  redis: "redis-server",
};
const always = { skip: false, reason: "" };

describe.each(["sticky", "non-sticky"] as const)("a %s demo cluster", (mode) => {
  for (const storage of ["embedded", "memcached", "redis"] as const) {
    const program = programs[storage];
    const { skip, reason } = program === undefined ? always : needsProgram(program);

    it.skipIf(skip)(
      `on ${storage} keeps a log-in and every acknowledged count while a process and a node are killed and come back${reason}`,
      async () => {
        const cluster = await start({ mode, storage });
        const visitor = new Visitor(cluster.url);
        const tally = new Tally();

        await visitor.post("/login?user=Ada");
        await clickUntil(killAppAt, visitor, tally);
        const app = await killServingAppMeanwhile(cluster, visitor, tally);
        await clickUntil(killNodeAt, visitor, tally);
        const node = killBackingNode(cluster, visitor);
        await clickUntil(restartAt, visitor, tally);
        await Promise.all([cluster.control(app, "restart"), cluster.control(node, "restart")]);
        await clickUntil(wantedCounts, visitor, tally);

        console.log(`  ${mode} on ${storage}: ${tally}`);
        expect(JSON.parse((await visitor.get("/me")).body)).toMatchObject({
          user: "Ada",
          counter: tally.last,
        });
        expect(stateOf(cluster)).toEqual({
          app1: "up",
          app2: "up",
          app3: "up",
          balancer: "up",
          n1: "up",
          n2: "up",
        });
      },
    );
  }

  it("says in cluster.json what every process and node is, and what became of it", async () => {
    const cluster = await start({ mode, storage: "embedded", apps: 2, nodes: 3 });
    const readCluster = async () => JSON.parse((await new Visitor(cluster.url).get("/cluster.json")).body);

    const before = await readCluster();
    expect(before).toMatchObject({
      mode,
      storage: { kind: "embedded", why: "as asked for" },
      locking: "optimistic",
    });
    expect(before.processes.map(({ name, kind }: MemberReport) => [name, kind])).toEqual([
      ["app1", "app"],
      ["app2", "app"],
      ["balancer", "balancer"],
    ]);
    expect(before.nodes.map(({ name, kind }: MemberReport) => [name, kind])).toEqual([
      ["n1", "node"],
      ["n2", "node"],
      ["n3", "node"],
    ]);
    for (const member of [...before.processes, ...before.nodes]) {
      expect(member).toMatchObject({ state: "up", pid: expect.any(Number) });
      expect(member.address).toMatch(/^127\.0\.0\.1:\d+$/);
    }

    await cluster.control("app1", "kill");
    await cluster.control("app2", "freeze");
    await cluster.control("n1", "stop");
    process.kill(pidOf(cluster, "n2"), "SIGKILL");
    await waitUntil("n2 is down", () => stateOf(cluster).n2 === "down");
    expect(stateOf(cluster)).toMatchObject({
      app1: "down",
      app2: "frozen",
      n1: "stopped",
      n2: "down",
      n3: "up",
    });

    for (const name of ["app1", "app2", "n1", "n2"]) await cluster.control(name, "restart");
    expect(new Set(Object.values(stateOf(cluster)))).toEqual(new Set(["up"]));
    expect((await readCluster()).journal.map(({ text }: { text: string }) => text)).toEqual(
      expect.arrayContaining(["app1 is killed (SIGKILL)", "n2 ended by itself (SIGKILL)", "n2 is back"]),
    );
  });
});

describe("the profiles of the original's sample", () => {
  it("single node: sessions are kept on one node without an id", async () => {
    const cluster = await start({ mode: "sticky", storage: "embedded", singleNode: true });
    const visitor = new Visitor(cluster.url);
    const tally = new Tally();

    await clickUntil(5, visitor, tally);
    await cluster.control(visitor.route ?? "none", "kill");
    await clickUntil(10, visitor, tally);

    expect(stateOf(cluster)).toMatchObject({ n1: "up" });
    expect(tally.counted).toBe(10);
  });

  it("failover nodes: such a node takes a session only where no other is left", async () => {
    const cluster = await start({ mode: "sticky", storage: "embedded", failoverNodes: "n1" });
    const visitor = new Visitor(cluster.url);
    const tally = new Tally();

    await clickUntil(5, visitor, tally);
    expect(visitor.node).toBe("n2");
    await cluster.control("n2", "kill");
    await clickUntil(10, visitor, tally);

    expect(visitor.node).toBe("n1");
    expect(tally.counted).toBe(10);
  });
});

describe.each(["sticky", "non-sticky"] as const)("32 counts at once in a %s demo cluster", (mode) => {
  it.each(["all", "auto", "app", "path:^/counter", "method:GET,POST"])(
    "are all kept with --locking %s",
    async (locking) => {
      const { cluster, before, after, counted, others } = await countAtOnce({ mode, locking });

      expect(cluster.report().locking).toBe(locking);
      expect(after).toBe(before + counted);
      // A slow machine may let some wait for too long; they are told, and have not counted.
      expect(others.filter(({ status }) => status !== 503)).toEqual([]);
      expect(counted).toBeGreaterThan(1);
    },
  );

  it.each(["optimistic", "path:^/elsewhere", "method:POST"])(
    "overwrite each other with --locking %s, and the journal tells",
    async (locking) => {
      const { cluster, before, after, counted } = await countAtOnce({ mode, locking });

      expect(after).toBeLessThan(before + counted);
      const conflict = /two requests changed "counter" at once; the later value stands/;
      await waitUntil("the conflict is told", () =>
        cluster.report().journal.some(({ text, tone }) => conflict.test(text) && tone === "trouble"),
      );
    },
  );

  it("overwrite each other with --locking none", async () => {
    const { before, after, counted } = await countAtOnce({ mode, locking: "none" });

    expect(after).toBeLessThan(before + counted);
  });

  it("are all kept where each of them asks for the lock itself", async () => {
    const { before, after, counted } = await countAtOnce({ mode, locking: "optimistic", query: "&lock" });

    expect(after).toBe(before + counted);
    expect(counted).toBeGreaterThan(1);
  });
});

describe("a request that waits in vain for its session", () => {
  it("is refused, and the journal tells", async () => {
    const cluster = await start({ mode: "non-sticky", storage: "embedded", locking: "all" });
    const visitor = new Visitor(cluster.url);
    await visitor.click();

    const answers = await Promise.all(Array.from({ length: 2 }, () => visitor.get("/counter?delay=4000")));

    expect(answers.map(({ status }) => status).sort()).toEqual([200, 503]);
    await waitUntil("the journal tells", () =>
      cluster
        .report()
        .journal.some(({ text }) =>
          text.includes("a request waited in vain for those before it, and is refused"),
        ),
    );
  });
});

describe("the demo's control", () => {
  it("obeys its own page and those who show that they are no page, and nobody else", async () => {
    const cluster = await start({ mode: "sticky", storage: "embedded", apps: 1, nodes: 1 });
    const post = async (path: string, headers: Record<string, string>) =>
      (await fetch(new URL(path, cluster.url), { method: "POST", headers })).status;
    const byScript = { "x-msm-control": "1" };

    expect(await post("/cluster/app1/kill", {})).toBe(403);
    expect(await post("/cluster/app1/kill", { origin: "http://example.com" })).toBe(403);
    expect(stateOf(cluster).app1).toBe("up");
    expect(await post("/cluster/app9/kill", byScript)).toBe(404);
    expect(await post("/cluster/balancer/kill", byScript)).toBe(404);
    expect(await post("/cluster/app1/paint", byScript)).toBe(404);
    expect(await post("/cluster/app1/kill", byScript)).toBe(200);
    expect(stateOf(cluster).app1).toBe("down");
    expect(await post("/cluster/app1/restart", { origin: cluster.url })).toBe(200);
    expect(stateOf(cluster).app1).toBe("up");
  });
});

async function start(options: ClusterOptions): Promise<Cluster> {
  const cluster = await startCluster({ port: 0, onLine: (line) => console.error(line), ...options });
  clusters.push(cluster);
  return cluster;
}

interface AtOnce {
  readonly mode: "sticky" | "non-sticky";
  readonly locking: string;
  readonly query?: string;
}

/** 32 requests at once, which all read the counter, wait, and write it. */
async function countAtOnce({ mode, locking, query = "" }: AtOnce) {
  const cluster = await start({ mode, storage: "embedded", locking });
  const visitor = new Visitor(cluster.url);
  const readCounter = async (): Promise<number> => JSON.parse((await visitor.get("/me")).body).counter;
  await visitor.click();

  const before = await readCounter();
  const answers = await Promise.all(
    Array.from({ length: 32 }, () => visitor.get(`/counter?delay=20${query}`)),
  );
  const others = answers.filter(({ status }) => status !== 200);
  return { cluster, before, after: await readCounter(), counted: answers.length - others.length, others };
}

/** Clicks until so many clicks have been acknowledged in all; one that was not is just clicked again. */
async function clickUntil(counts: number, visitor: Visitor, tally: Tally): Promise<void> {
  while (tally.counted < counts) {
    tally.add(await visitor.click());
    if (tally.unanswered.length > mostUnanswered) throw new Error(`too much went unanswered: ${tally}`);
  }
}

/** Kills the process that serves the visitor, in the middle of a click. @returns its name */
async function killServingAppMeanwhile(cluster: Cluster, visitor: Visitor, tally: Tally): Promise<string> {
  const app = visitor.route ?? nextInTurn(cluster, await visitor.get("/readonly"));
  const { address } = member(cluster, app);
  const requestsServed = async () => {
    const health = await fetch(`http://${address}/health`);
    return ((await health.json()) as { requests: number }).requests;
  };
  const before = await requestsServed();
  const click = visitor.click({ delayMs: 2000 });
  await waitUntil("the click has reached the process", async () => (await requestsServed()) > before);
  process.kill(pidOf(cluster, app), "SIGKILL");
  tally.add(await click);
  return app;
}

/** Without stickiness, the process that the next request goes to. */
function nextInTurn(cluster: Cluster, { servedBy }: { servedBy: string | undefined }): string {
  const apps = cluster.report().processes.filter(({ kind }) => kind === "app");
  const at = apps.findIndex(({ name }) => name === servedBy);
  return apps[(at + 1) % apps.length]?.name ?? "none";
}

/** Kills the node that the visitor's cookie names, and goes on at once. @returns its name */
function killBackingNode(cluster: Cluster, visitor: Visitor): string {
  const node = visitor.node ?? "none";
  process.kill(pidOf(cluster, node), "SIGKILL");
  return node;
}

function member(cluster: Cluster, name: string): MemberReport {
  const { processes, nodes } = cluster.report();
  const found = [...processes, ...nodes].find((each) => each.name === name);
  if (!found) throw new Error(`there is no "${name}" in the cluster`);
  return found;
}

function pidOf(cluster: Cluster, name: string): number {
  const { pid } = member(cluster, name);
  if (pid === null) throw new Error(`${name} does not run`);
  return pid;
}

function stateOf(cluster: Cluster): Record<string, string> {
  const { processes, nodes } = cluster.report();
  return Object.fromEntries([...processes, ...nodes].map(({ name, state }) => [name, state]));
}
