import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type Koa from "koa";
import { describe, expect, it, vi } from "vitest";
import { visit } from "./running.js";

const folder = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string) => readFileSync(folder + path, "utf8");

vi.stubEnv("SESSION_SECRET", "only for the examples of the README, 32 bytes and more");

it("README.md shows the files in examples, and no other program", () => {
  const shown = [...read("README.md").matchAll(/^```[jt]s\n([\s\S]*?)^```$/gm)].map(([, code]) => code);
  const files = readdirSync(`${folder}examples`).map((name) => read(`examples/${name}`));

  expect(shown.toSorted()).toEqual(files.toSorted());
});

/** The applications of an example in JavaScript, which has no types. */
const example = (name: string): Promise<Record<string, Koa>> => import(`../examples/${name}.mjs`);

describe.each(["counter", "store"])("examples/%s.mjs", (name) => {
  it("counts its visitor's visits", async () => {
    const ask = await visit((await example(name)).app!);

    expect((await ask("/")).body).toBe("You were here 1 times.");
    expect((await ask("/")).body).toBe("You were here 2 times.");
  });
});

it("examples/login.mjs signs in and out, and is remembered where asked to be", async () => {
  const ask = await visit((await example("login")).app!);

  expect((await ask("/")).body).toBe("Hello stranger");
  expect(await ask("/login?user=ann&remember=1")).toMatchObject({
    status: 302,
    set: [expect.stringContaining("Max-Age=2592000;")],
  });
  expect((await ask("/")).body).toBe("Hello ann");
  await ask("/logout");
  expect((await ask("/")).body).toBe("Hello stranger");
});

it("examples/locks.mjs loses none of two items that are put into the cart at once", async () => {
  const ask = await visit((await example("locks")).app!);
  await ask("/cart");

  const bodies = (await Promise.all([ask("/cart"), ask("/cart")])).map(({ body }) => body);

  expect(bodies.sort()).toEqual(["2 in your cart", "3 in your cart"]);
  expect((await ask("/status")).body).toBe("3 in your cart");
  expect((await ask("/order")).body).toBe("Thank you.");
  expect((await ask("/status")).body).toBe("0 in your cart");
});

it("examples/typed.ts counts", async () => {
  const ask = await visit((await import("../examples/typed.js")).app);

  await ask("/");
  expect((await ask("/")).body).toBe("2");
});

it("examples/shared-manager.mjs has one cart in both applications", async () => {
  const { shop, admin } = await example("shared-manager");
  const inShop = await visit(shop!);
  await inShop("/");

  const inAdmin = await visit(admin!);
  for (const [name, value] of inShop.cookies) inAdmin.cookies.set(name, value);

  expect((await inAdmin("/")).body).toBe('["book"]');
});
