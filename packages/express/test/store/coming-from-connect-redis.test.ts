import { readdirSync, readFileSync } from "node:fs";
import { needsProgram, redisCommand, startServer, type TestServer } from "@msm/conformance";
import type { SessionManager } from "@msm/core";
import type { Express } from "express";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { Client } from "../client.js";
import { serve } from "../serve.js";

const folder = new URL("../coming-from-connect-redis/", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

it("docs/coming-from-connect-redis.md shows the programs that are run here, and no other", () => {
  const page = read("../../../../docs/coming-from-connect-redis.md");
  const shown = [...page.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, code]) => code);
  const programs = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), "utf8"));

  expect(shown.toSorted()).toEqual(programs.toSorted());
});

interface Program {
  readonly app: Express;
  /** Of node-redis. */
  readonly client?: { destroy(): void };
  readonly sessions?: { readonly manager: SessionManager };
  readonly manager?: SessionManager;
}

const { skip, reason } = needsProgram("redis-server");

describe.skipIf(skip)(`a site that comes from connect-redis${reason}`, () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer(redisCommand());
    vi.stubEnv("REDIS_URL", `redis://127.0.0.1:${server.port}`);
    vi.stubEnv("SESSION_NODES", `redis://127.0.0.1:${server.port}`);
    vi.stubEnv("SESSION_SECRET", "only for the programs of this page, 32 bytes");
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await server.close();
  });

  /** The same browser at another program. */
  const at = (url: string, browser: Client) => new Client(url).take(browser.cookie);

  /** Serves a program on a port of its own. */
  async function run(name: string): Promise<string> {
    const program = (await import(`../coming-from-connect-redis/${name}.mjs`)) as Program;
    const { url, close } = await serve(program.app);
    onTestFinished(async () => {
      close();
      program.client?.destroy();
      await (program.sessions?.manager ?? program.manager)?.close();
    });
    return url;
  }

  it("logs nobody out in either step, and can go back after the first", async () => {
    const [before, changed, nodes] = [await run("before"), await run("import-changed"), await run("nodes")];
    const [ann, bob] = [new Client(before), new Client(before)];
    await ann.get("/login?user=ann");
    await bob.get("/login?user=bob");
    expect((await ann.get("/")).text).toBe("ann: 1");

    expect((await at(changed, ann).get("/")).text).toBe("ann: 2");
    expect((await at(before, ann).get("/")).text).toBe("ann: 3");
    expect((await at(changed, ann).get("/")).text).toBe("ann: 4");

    const [here, there] = [at(nodes, ann), at(nodes, ann)];
    const answers = await Promise.all([here.get("/"), there.get("/")]);
    expect(answers.map(({ text }) => text)).toEqual(["ann: 5", "ann: 5"]);
    expect((await here.get("/")).text).toBe("ann: 6");
    expect((await there.get("/")).text).toBe("ann: 7");
    expect((await at(nodes, bob).get("/")).text).toBe("bob: 1");
    expect((await new Client(before).get("/")).text).toBe("stranger: 1");

    await here.get("/logout");
    expect((await here.get("/")).text).toBe("stranger: 1");
    expect((await there.get("/")).text).toBe("stranger: 1");
  });

  it("keeps express-session's middleware with toStore()", async () => {
    const ann = new Client(await run("to-store"));

    await ann.get("/");
    expect((await ann.get("/")).text).toBe("2");
  });
});
