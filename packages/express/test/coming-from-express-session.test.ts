import { readdirSync, readFileSync } from "node:fs";
import type { Express } from "express";
import type expressSession from "express-session";
import { afterEach, expect, it, vi } from "vitest";
import type { SessionMiddleware } from "../src/middleware.js";
import { Client } from "./client.js";
import { serve } from "./serve.js";

const folder = new URL("./coming-from-express-session/", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

it("docs/coming-from-express-session.md shows the programs that are run here, and no other", () => {
  const page = read("../../../docs/coming-from-express-session.md");
  const shown = [...page.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, code]) => code);
  const programs = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), "utf8"));

  expect(shown.toSorted()).toEqual(programs.toSorted());
});

/** Runs a program of the page on a port of its own. */
async function run(name: string): Promise<string> {
  const program = (await import(`./coming-from-express-session/${name}.mjs`)) as {
    readonly app: Express;
    readonly sessions?: SessionMiddleware;
  };
  const { url, close } = await serve(program.app);
  closings.push(() => program.sessions?.manager.close(), close);
  return url;
}

it("a live site changes over, and nobody is logged out", async () => {
  vi.stubEnv("SESSION_SECRET", "only for the programs of the page, 32 bytes");
  const before = new Client(await run("before"));
  await before.get("/login?user=ann");
  expect((await before.get()).text).toBe("ann: 1");

  const after = new Client(await run("after")).take(before.cookie);

  expect((await after.get()).text).toBe("ann: 2");
  expect((await after.get()).text).toBe("ann: 3");
  const { store } = (await import("./coming-from-express-session/store.mjs" as string)) as {
    readonly store: expressSession.MemoryStore;
  };
  expect(Object.keys(Reflect.get(store, "sessions") as object)).toEqual([]);
  await after.get("/logout");
  expect((await after.get()).text).toBe("stranger: 1");
});

it("one import changed, with `compat: 1`, leaves the cookie as it was", async () => {
  const warn = vi.spyOn(process, "emitWarning").mockReturnValue();
  const ann = new Client(await run("one-import"));

  expect((await ann.get()).set).toEqual([
    expect.stringMatching(/^connect\.sid=s%3A[^;]+; Path=\/; HttpOnly$/),
  ]);
  expect((await ann.get()).text).toBe("You were here 2 times.");
  expect(warn.mock.calls.map(([, options]) => (options as { code: string }).code).toSorted()).toEqual([
    "MSM_DEP_SHORT_SECRET",
    "MSM_DEP_UNDEFINED_RESAVE",
    "MSM_DEP_UNDEFINED_SAVE_UNINITIALIZED",
  ]);
});
