import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import type http from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import type { Express } from "express";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Client } from "./client.js";
import { serve } from "./serve.js";

const folder = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string) => readFileSync(folder + path, "utf8");

vi.stubEnv("SESSION_SECRET", "only for the examples of the README, 32 bytes and more");

it("README.md shows the files in examples, and no other program", () => {
  const shown = [...read("README.md").matchAll(/^```[jt]s\n([\s\S]*?)^```$/gm)].map(([, code]) => code);
  const files = readdirSync(`${folder}examples`).map((name) => read(`examples/${name}`));

  expect(shown.toSorted()).toEqual(files.toSorted());
});

/** The application of an example in JavaScript, which has no types. */
async function plainExample(name: string): Promise<{ app: Express }> {
  return import(`../examples/${name}.mjs`);
}

/** Serves an example's application, and asks it as one client that keeps its cookie and follows no redirect. */
function served(app: () => Promise<{ app: Express }>) {
  const running: { url: string; close(): void } = { url: "", close() {} };
  let cookie = "";
  beforeAll(async () => Object.assign(running, await serve((await app()).app)));
  afterAll(() => running.close());
  return async (path: string, body?: Record<string, string>) => {
    const answer = await fetch(running.url + path, {
      redirect: "manual",
      headers: { cookie },
      ...(body === undefined ? {} : { method: "POST", body: new URLSearchParams(body) }),
    });
    const set = answer.headers.getSetCookie()[0];
    if (set !== undefined) cookie = set.split(";")[0] ?? "";
    return { status: answer.status, text: await answer.text(), set };
  };
}

describe("examples/counter.mjs", () => {
  const ask = served(() => plainExample("counter"));

  it("counts its visitor's visits", async () => {
    expect((await ask("/")).text).toBe("You were here 1 times.");
    expect((await ask("/")).text).toBe("You were here 2 times.");
  });
});

describe("examples/locks.mjs", () => {
  const ask = served(() => plainExample("locks"));

  it("loses none of two items that are put into the cart at once", async () => {
    await ask("/cart", {});
    const answers = await Promise.all([ask("/cart", {}), ask("/cart", {})]);

    expect(answers.map(({ text }) => text).sort()).toEqual(["2 in your cart", "3 in your cart"]);
    expect((await ask("/status")).text).toBe("3 in your cart");
    expect((await ask("/order", {})).text).toBe("Thank you.");
    expect((await ask("/status")).text).toBe("0 in your cart");
  });
});

describe("examples/login.mjs", () => {
  const ask = served(() => plainExample("login"));

  it("knows who signed in, until they sign out", async () => {
    expect((await ask("/")).text).toBe("Hello stranger");
    expect((await ask("/login", { user: "ann" })).set).toContain("Max-Age=1800");
    expect((await ask("/")).text).toBe("Hello ann");
    expect((await ask("/login", { user: "bob", remember: "1" })).set).toContain("Max-Age=2592000");
    expect((await ask("/")).text).toBe("Hello bob");
    expect((await ask("/logout", {})).set).toContain("Max-Age=0");
    expect((await ask("/")).text).toBe("Hello stranger");
  });
});

describe.each(["node-http", "fast-server"])("examples/%s.mjs", (name) => {
  it("counts its visitor's visits", async () => {
    const path = `../examples/${name}.mjs`;
    const { server } = (await import(path)) as { server: http.Server };
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const ann = new Client(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);

    expect((await ann.get()).text).toBe("You were here 1 times.");
    expect((await ann.get()).text).toBe("You were here 2 times.");
    server.closeAllConnections();
    server.close();
  });
});

describe("examples/shared-manager.mjs", () => {
  const ask = served(() => plainExample("shared-manager"));

  it("shows one session in both mounts", async () => {
    await ask("/shop/cart");
    expect((await ask("/admin/cart")).text).toBe('["book"]');
  });
});

describe("examples/store.mjs", () => {
  const ask = served(() => plainExample("store"));

  it("counts, with express-session's cookie", async () => {
    expect((await ask("/")).set).toMatch(/^connect\.sid=s%3A/);
    expect((await ask("/")).text).toBe("You were here 2 times.");
  });
});

describe("examples/typed.ts", () => {
  const ask = served(() => import("../examples/typed.js"));

  it("counts", async () => {
    await ask("/");
    expect((await ask("/")).text).toBe("2");
  });
});
