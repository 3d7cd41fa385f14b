import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import {
  type FaultProxy,
  memcachedCommand,
  needsProgram,
  pause,
  redisCommand,
  startFaultProxy,
  startServer,
  type TestServer,
  waitUntil,
} from "@msm/conformance";
import { memcachedStorage, redisStorage, type Storage } from "@msm/core";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { AppConfiguration, AppMessage } from "../faults/app-configuration.js";
import { readCookie, sessionCookieIn } from "../faults/session-cookie.js";
import { AppProcess } from "../processes/app-process.js";
import { askWorker } from "../processes/http-answer.js";

// memcached-session-manager deletes what a server that takes a session over is about to store anew, and stores it when
// the request is over: a server that is killed in between takes the session along. Letter d in
// docs/original-behaviours.md: here, a process is killed at each step of a take-over, and nothing is lost.

/** What app2 is doing when it is killed, and what is on the node then. */
const moments = [
  "waits for the answer to its question",
  "has claimed the session, and nothing of that has reached the node",
  "has claimed the session, which reaches the node after its death",
  "has claimed the session, which reaches the node after another has gone on with it",
  "waits for the answer to its claim",
  "is in the handler of the request",
  "has stored what the request changed, and has told nobody",
] as const;

type Moment = (typeof moments)[number];

/** More than a ping asks, and less than who wants a record, whose key must be named. */
const questionBytes = { memcached: 50, redis: 120 } as const;

const kinds = [
  { kind: "memcached", ...needsProgram("memcached") },
  { kind: "redis", ...needsProgram("redis-server") },
] as const;

const patientMs = 5000;
const program = fileURLToPath(new URL("../faults/app.mjs", import.meta.url));

interface Answer {
  /** Undefined where no whole answer came. */
  readonly status: number | undefined;
  readonly body: string;
  /** The session cookie that the client has then. */
  readonly cookie: string | undefined;
}

/** An application process in sticky mode. */
class App {
  /** Resolves when a handler that was asked to tells that it is at work. */
  readonly thinking: Promise<void>;
  readonly #process: AppProcess<AppMessage>;

  constructor(name: string, nodes: string) {
    let noteThinking = () => {};
    this.thinking = new Promise((resolve) => {
      noteThinking = resolve;
    });
    const configuration: AppConfiguration = {
      name,
      mode: "sticky",
      backup: "sync",
      locking: "optimistic",
      options: { nodes, operationTimeoutMs: patientMs, backupTimeoutMs: 2 * patientMs },
      clockAheadMs: 0,
    };
    this.#process = new AppProcess<AppMessage>({
      ...{ name, program, configuration },
      onMessage: ({ kind }) => {
        if (kind === "thinking") noteThinking();
      },
    });
  }

  start(): Promise<void> {
    return this.#process.start();
  }

  kill(): Promise<void> {
    return this.#process.kill();
  }

  async ask(method: string, path: string, cookie: string | undefined): Promise<Answer> {
    const header = cookie === undefined ? undefined : `sid=${cookie}`;
    const request = { method, path, cookie: header, patienceMs: 4 * patientMs };
    const answer = await askWorker(this.#process.line, request);
    if (answer.kind === "broken") return { status: undefined, body: answer.why, cookie };
    return { status: answer.status, body: answer.body, cookie: sessionCookieIn(answer.setCookies) ?? cookie };
  }

  /** What the session holds. */
  async state(cookie: string | undefined): Promise<{ readonly found: readonly string[] }> {
    return JSON.parse((await this.ask("GET", "/state", cookie)).body);
  }
}

for (const { kind, skip, reason } of kinds) {
  describe.skipIf(skip)(`on ${kind}${reason}`, () => {
    let node: TestServer;
    let proxy: FaultProxy;
    let storage: Storage;
    let successor: App;
    let heir: App;
    let passedAtStart = 0;
    const cookies = new Map<Moment, string>();
    const apps: App[] = [];

    /** Starts a process that reaches the node at this port. */
    async function start(name: string, port: number): Promise<App> {
      const app = new App(name, kind === "redis" ? `redis://127.0.0.1:${port}` : `127.0.0.1:${port}`);
      apps.push(app);
      await app.start();
      return app;
    }

    const versionOf = async (cookie: string) => {
      const digest = createHash("sha256").update(readCookie(cookie).id).digest("base64url");
      const loaded = await storage.load(`msm:{${digest}}`);
      return loaded.kind === "found" ? Number.parseInt(loaded.revision.version, 16) : undefined;
    };

    beforeAll(async () => {
      node = await startServer(kind === "redis" ? redisCommand() : memcachedCommand());
      proxy = await startFaultProxy(node.port);
      storage =
        kind === "redis"
          ? redisStorage({ url: `redis://127.0.0.1:${node.port}`, operationTimeoutMs: patientMs })
          : memcachedStorage({ host: "127.0.0.1", port: node.port, operationTimeoutMs: patientMs });
      const owner = await start("app1", node.port);
      for (const moment of moments) {
        const { status, cookie } = await owner.ask("POST", "/append?id=first", undefined);
        if (status !== 200 || cookie === undefined) throw new Error(`no session was begun: ${status}`);
        cookies.set(moment, cookie);
      }
      await owner.kill();
      successor = await start("app3", node.port);
      heir = await start("app4", node.port);
      // Redis knows the scripts from now on: nobody asks twice as it does not.
      const { cookie } = await successor.ask("POST", "/append?id=first", undefined);
      await heir.ask("POST", "/append?id=last", cookie);
    });

    afterEach(() => {
      proxy?.pass();
    });

    afterAll(async () => {
      await Promise.all(apps.map((app) => app.kill()));
      await storage?.close();
      await proxy?.close();
      await node?.close();
    });

    it.each(moments)(
      "original d: a session outlives the process that takes it over, killed at any step: while it %s",
      async (moment) => {
        const cookie = cookies.get(moment)!;
        expect(await versionOf(cookie)).toBe(1);
        passedAtStart = proxy.passed.requests;
        const app = await start("app2", proxy.port);
        onTestFinished(() => app.kill());
        await isConnected();

        const { asked } = await takeOverUntil(moment, app, cookie);
        await app.kill();
        expect((await asked).status, "nobody was told anything").toBeUndefined();
        if (moment !== "has claimed the session, which reaches the node after another has gone on with it")
          proxy.pass();
        const { status, cookie: next } = await successor.ask("POST", "/append?id=last", cookie);
        proxy.pass();
        await waitUntil("what app2 had sent has arrived", () => proxy.open === 0);

        expect(status).toBe(200);
        expect(readCookie(next ?? "")).toEqual({ ...readCookie(cookie), route: "app3" });
        const { found } = await successor.state(next);
        expect(found.filter((id) => id !== "lost")).toEqual(["first", "last"]);
        // Carried out, though nobody was told.
        if (moment === "has stored what the request changed, and has told nobody")
          expect(found).toContain("lost");
        expect(new Set(found).size, "nothing is there twice").toBe(found.length);
        // What is in the memory of app3 is what the node has.
        expect((await heir.state(next)).found).toEqual(found);
      },
    );

    /** Connecting takes a few exchanges, which must not be taken for the question. */
    async function isConnected(): Promise<void> {
      let passedBefore = 0;
      const isQuiet = () => {
        const passed = proxy.passed.requests;
        const isSame = passed > passedAtStart && passed === passedBefore;
        passedBefore = passed;
        return isSame;
      };
      await waitUntil("app2 is connected", isQuiet, { everyMs: 100 });
    }

    /** Sends app2 a request of the session, and lets it come as far as that. @returns the answer that is on its way */
    async function takeOverUntil(
      moment: Moment,
      app: App,
      cookie: string,
    ): Promise<{ readonly asked: Promise<Answer> }> {
      const sentBefore = proxy.passed.requests;
      const thinkMs = moment === "is in the handler of the request" ? 60_000 : 300;
      const isHeldUp = !moment.startsWith("is in") && !moment.startsWith("has stored");
      if (isHeldUp) proxy.hold("replies");
      const asked = app.ask("POST", `/append?id=lost&tells=1&thinkMs=${thinkMs}`, cookie);
      if (isHeldUp) {
        await waitUntil(
          "the question was passed on",
          () => proxy.passed.requests > sentBefore + questionBytes[kind],
        );
      }
      switch (moment) {
        case "waits for the answer to its question":
          break;
        case "has claimed the session, and nothing of that has reached the node":
          proxy.hold("requests"); // the answer goes through
          await pause(100); // for the claim to be sent, which nobody but app2 can see
          proxy.endAll("rst");
          break;
        case "has claimed the session, which reaches the node after its death":
        case "has claimed the session, which reaches the node after another has gone on with it":
          proxy.hold("requests");
          await pause(100);
          break;
        case "waits for the answer to its claim":
          // By turns, as the process may ask for more than the session: what was answered goes through, then what is asked.
          await waitUntil("the claim is stored", async () => {
            proxy.hold("requests");
            await pause(30);
            proxy.hold("replies");
            await pause(30);
            return (await versionOf(cookie)) === 2;
          });
          break;
        case "is in the handler of the request":
          await app.thinking;
          expect(await versionOf(cookie)).toBe(2);
          break;
        case "has stored what the request changed, and has told nobody":
          await app.thinking;
          proxy.hold("replies");
          await waitUntil("the change is stored", async () => (await versionOf(cookie)) === 3);
      }
      return { asked };
    }
  });
}
