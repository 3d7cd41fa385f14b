import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { SessionManager } from "@msm/core";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  type Cluster,
  type ClusterOptions,
  cluster,
  freePort,
  testClient,
  waitUntil,
} from "../../src/index.js";
import { keyOf, modes, nodeKinds, partsOf, startNodes } from "./real-nodes.js";
import { type Answer, startRotation } from "./rotation.js";

function start(options: ClusterOptions = {}): { running: Cluster; manager: SessionManager } {
  const running = cluster(options);
  onTestFinished(() => running.close());
  return { running, manager: running.start("app1") };
}

/** Whether something is done yet. */
function watched(work: Promise<unknown>): { isDone: boolean } {
  const state = { isDone: false };
  void work.then(() => {
    state.isDone = true;
  });
  return state;
}

describe.each(modes)("close(), %s", (mode) => {
  it("waits for requests that are open, and refuses others", async () => {
    const { running, manager } = start({ mode });
    const client = testClient();
    const open = await client.open(manager);
    const closing = watched(manager.close());

    await expect(testClient().open(manager)).rejects.toMatchObject({ code: "MSM_ERR_CLOSED" });
    await running.clock.turn(1000);
    expect(closing.isDone).toBe(false);
    open.session!.attributes.n = 1;
    expect((await client.finish(open)).result.outcome).toBe("stored");
    await running.clock.turn(1);

    expect(closing.isDone).toBe(true);
    expect((await client.visit(running.start("app2"))).session?.attributes.n).toBe(1);
  });

  it("waits no longer than timeoutMs, whatever closeTimeoutMs says", async () => {
    const { running, manager } = start({ mode, closeTimeoutMs: 60_000, operationTimeoutMs: 100 });
    await testClient().open(manager);
    const closing = watched(manager.close({ timeoutMs: 2000 }));

    await running.clock.turn(1999);
    expect(closing.isDone).toBe(false);
    await running.clock.turn(101);
    expect(closing.isDone).toBe(true);
  });

  it("takes no timeoutMs that makes no sense", () => {
    const { manager } = start({ mode });
    expect(() => manager.close({ timeoutMs: 0 })).toThrow("MSM_ERR_OPTION: timeoutMs");
    expect(manager.health().status).toBe("ok");
  });

  it("offers nodes once more what they did not take", async () => {
    const { running, manager } = start({ mode });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    const { id } = partsOf(client.cookie);
    for (const node of Object.values(running.nodes)) node.hangOn("putIfNewer");
    await client.visit(manager, (_, session) => session.destroy().catch(() => {}));
    for (const node of Object.values(running.nodes)) node.comeBack();
    expect(manager.health().nodes.some(({ missedRecords }) => missedRecords > 0)).toBe(true);

    const closing = manager.close();
    await running.clock.turn(1);
    await closing;

    for (const node of Object.values(running.nodes)) {
      const loaded = await node.load(keyOf(id));
      expect(loaded.kind === "found" && loaded.revision.version).toBe("f".repeat(16));
    }
  });
});

describe("close(), non-sticky", () => {
  it("gives back what requests have locked that do not end in time", async () => {
    const { running, manager } = start({ mode: "non-sticky", locking: "all" });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    const stream = await client.open(manager);
    const closing = manager.close({ timeoutMs: 1000 });
    await running.clock.turn(1500);
    await closing;

    const { result } = await testClient(client.cookie).visit(running.start("app2"), (attributes) => {
      attributes.n = 2;
    });
    expect(result.outcome).toBe("stored");
    await stream.end();
  });
});

describe("close(), sticky", () => {
  it("saves what is not saved yet", async () => {
    const { running, manager } = start({ mode: "sticky", backup: "async" } as ClusterOptions);
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    for (const node of Object.values(running.nodes)) node.hang();
    await client.visit(manager, (attributes) => {
      attributes.n = 2;
    });
    await running.clock.turn(0);
    expect(manager.stats().unsavedSessions).toBe(1);
    for (const node of Object.values(running.nodes)) node.comeBack();

    const closing = manager.close();
    await running.clock.turn(1);
    await closing;

    expect((await client.visit(running.start("app2"))).session?.attributes.n).toBe(2);
  });

  it("gives the records of sessions that were read the time that these have left", async () => {
    const { running, manager } = start({ mode: "sticky", idleTimeoutMs: 100_000 });
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    await running.clock.turn(45_000);
    await client.visit(manager);
    const closing = manager.close();
    await running.clock.turn(1);
    await closing;

    await running.clock.turn(90_000);
    expect((await client.visit(running.start("app2"))).session?.attributes.n).toBe(1);
  });
});

const folder = fileURLToPath(new URL("../../../express/", import.meta.url));
const example = readFileSync(`${folder}examples/shut-down.mjs`, "utf8");
const shownOptions = /mode: "sticky",\n {2}route: process\.env\.ROUTE,/;

/** A busy machine must not look like a slow server. */
const patience = "operationTimeoutMs: 5000,";
const stickyPatience = `${patience} backupTimeoutMs: 10_000,`;
/** A lease that is left behind is in the way for longer than the test lasts. */
const lockingOptions = 'locking: "all", lockTimeoutMs: 10_000, leaseTtlMs: 120_000, maxLeaseMs: 120_000,';

/** The ways to run the example: with its own options, and with others. */
const programs = {
  sticky: example.replace(shownOptions, `$& ${stickyPatience}`),
  "sticky, backup: async": example.replace(shownOptions, `$& ${stickyPatience} backup: "async",`),
  "non-sticky, locking: all": example.replace(shownOptions, `${patience} ${lockingOptions}`),
};

const routes = ["app1", "app2", "app3"] as const;

/** Runs a program from the folder of the package, where its own name leads to what was built. */
async function run(program: string, route: string, nodes: string) {
  const port = await freePort();
  const child = spawn(process.execPath, ["--input-type=module"], {
    cwd: folder,
    env: {
      ...process.env,
      PORT: String(port),
      ROUTE: route,
      SESSION_SECRET: "the secret of these tests, of 32 bytes and more",
      SESSION_NODES: nodes,
    },
    stdio: ["pipe", "inherit", "inherit"],
  });
  child.stdin.end(program);
  onTestFinished(() => void child.kill("SIGKILL"));
  return { route, port, child };
}

/** Resolves with how a process ended. */
async function endOf(child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return { code: child.exitCode, signal: child.signalCode };
}

interface Note {
  cookie: string | undefined;
  readonly acknowledged: string[];
}

for (const { kind, skip, reason } of nodeKinds) {
  describe.skipIf(skip)(`the example that shuts down at SIGTERM, on ${kind}${reason}`, () => {
    it.each(Object.entries(programs))(
      "%s: no request fails, nothing is lost, no lease is left",
      async (_, program) => {
        const nodes = await startNodes(kind, 2);
        const nodesOption = nodes.map(({ id, url }) => `${id}:${url}`).join();
        const servers = await Promise.all(routes.map((route) => run(program, route, nodesOption)));
        const rotation = startRotation(servers);
        onTestFinished(() => rotation.close());
        await waitUntil("all processes are served", () => routes.every(rotation.has), { timeoutMs: 20_000 });

        const failures: string[] = [];
        const clients = Array.from({ length: 12 }, (): Note => ({ cookie: undefined, acknowledged: [] }));
        let isOver = false;
        const send = async (client: Note, method: string, path: string): Promise<Answer | undefined> => {
          const cookie = client.cookie === undefined ? undefined : `sid=${client.cookie}`;
          const answer = await rotation.send(method, path, cookie).catch((error: unknown) => {
            failures.push(`${method} ${path}: ${String(error)}`);
            return undefined;
          });
          if (answer !== undefined && answer.status !== 200)
            failures.push(`${method} ${path}: ${answer.status}`);
          client.cookie = /^sid=([^;]*)/.exec(answer?.setCookie ?? "")?.[1] ?? client.cookie;
          return answer;
        };
        const load = clients.map(async (client, at) => {
          for (let count = 0; !isOver; count++) {
            const note = `${at}-${count}`;
            const answer = await send(client, "POST", `/notes/${note}`);
            if (answer?.status !== 200) continue;
            client.acknowledged.push(note);
            if (answer.text !== JSON.stringify(client.acknowledged))
              failures.push(`${note} is not where it should be: ${answer.text}`);
            if (client.acknowledged.length === 100) {
              client.acknowledged.length = 0;
              client.cookie = undefined;
            }
          }
        });
        const acknowledged = () => clients.reduce((sum, each) => sum + each.acknowledged.length, 0);
        await waitUntil("there is traffic", () => acknowledged() > 100);

        // One after the other, as in a deployment; the last one stays.
        for (const { child } of servers.slice(0, -1)) {
          child.kill("SIGTERM");
          expect(await endOf(child)).toEqual({ code: 0, signal: null });
        }
        isOver = true;
        await Promise.all(load);

        expect(failures).toEqual([]);
        for (const client of clients) {
          const answer = await send(client, "GET", "/notes");
          expect(answer?.text).toBe(JSON.stringify(client.acknowledged));
        }
        const last = servers.at(-1)!.child;
        last.kill("SIGTERM");
        expect(await endOf(last)).toEqual({ code: 0, signal: null });

        for (const { cookie } of clients) {
          if (cookie === undefined) continue; // it was about to begin anew
          for (const { storage } of nodes) {
            const lease = { token: "a-lease-of-this-test-alone", ttlMs: 3000 };
            expect((await storage.load(keyOf(partsOf(cookie).id), { lease })).kind).not.toBe("locked");
          }
        }
      },
    );
  });
}
