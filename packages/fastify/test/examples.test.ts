import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { MemoryStore } from "@msm/fastify";
import type { FastifyInstance } from "fastify";
import { afterAll, describe, expect, it, vi } from "vitest";

const folder = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string) => readFileSync(folder + path, "utf8");
const programsIn = (page: string) =>
  [...read(page).matchAll(/^```[jt]s\n([\s\S]*?)^```$/gm)].map(([, code]) => code).toSorted();
const filesIn = (path: string) =>
  readdirSync(folder + path, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => read(`${path}/${name}`))
    .toSorted();

const secret = "only for the examples of the README, 32 bytes and more";
vi.stubEnv("SESSION_SECRET", secret);

it("README.md shows the files in examples, and no other program", () => {
  expect(programsIn("README.md")).toEqual(filesIn("examples"));
});

it("docs/coming-from-fastify-session.md shows the files in examples/coming-from, and no other program", () => {
  expect(programsIn("../../docs/coming-from-fastify-session.md")).toEqual(filesIn("examples/coming-from"));
});

const apps: FastifyInstance[] = [];
afterAll(async () => {
  await Promise.all(apps.map((app) => app.close()));
});

/** An example in JavaScript, which has no types. */
const plain = async (name: string): Promise<FastifyInstance> => (await import(`../examples/${name}.mjs`)).app;

/** Asks an application as one client that keeps its cookies and follows no redirect. */
function client(cookies = new Map<string, string>()) {
  return async (app: FastifyInstance, url: string, payload?: object) => {
    if (!apps.includes(app)) apps.push(app);
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await app.inject({
      url,
      headers: { cookie },
      ...(payload === undefined ? {} : { method: "POST", payload }),
    });
    const [set] = [answer.headers["set-cookie"] ?? []].flat();
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(set ?? "") ?? [];
    if (name !== undefined && value !== undefined) cookies.set(name, value);
    return { status: answer.statusCode, text: answer.body, set };
  };
}

describe("examples", () => {
  it.each(["counter", "store"])("%s counts its visitor's visits", async (name) => {
    const [app, ask] = [await plain(name), client()];

    expect((await ask(app, "/")).text).toBe("You were here 1 times.");
    expect((await ask(app, "/")).text).toBe("You were here 2 times.");
    expect((await client()(app, "/")).text).toBe("You were here 1 times.");
  });

  it("login signs in under another id, remembers, and signs out", async () => {
    const [app, ask] = [await plain("login"), client()];

    expect((await ask(app, "/")).text).toBe("Hello stranger");
    expect((await ask(app, "/login", { user: "ann" })).set).toContain("Max-Age=1800");
    const before = (await ask(app, "/")).text;
    expect((await ask(app, "/login", { user: "bob", remember: "1" })).set).toContain("Max-Age=2592000");
    expect([before, (await ask(app, "/")).text]).toEqual(["Hello ann", "Hello bob"]);
    expect((await ask(app, "/logout", {})).set).toContain("Max-Age=0");
    expect((await ask(app, "/")).text).toBe("Hello stranger");
  });

  it("locks loses none of two items that are put into the cart at once", async () => {
    const [app, ask] = [await plain("locks"), client()];
    await ask(app, "/cart", {});

    const answers = await Promise.all([ask(app, "/cart", {}), ask(app, "/cart", {})]);

    expect(answers.map(({ text }) => text).sort()).toEqual(["2 in your cart", "3 in your cart"]);
    expect((await ask(app, "/status")).text).toBe("3 in your cart");
    expect((await ask(app, "/order", {})).text).toBe("Thank you.");
    expect((await ask(app, "/status")).text).toBe("0 in your cart");
  });

  it("shared-manager shows one session in both contexts", async () => {
    const [app, ask] = [await plain("shared-manager"), client()];

    await ask(app, "/shop/cart");

    expect((await ask(app, "/admin/cart")).text).toBe('["book"]');
  });

  it("typed counts", async () => {
    const [{ app }, ask] = [await import("../examples/typed.js"), client()];

    await ask(app, "/");

    expect((await ask(app, "/")).text).toBe('{"views":2}');
  });
});

describe("coming from @fastify/session", () => {
  interface Program {
    start(given: { secret: string; store: MemoryStore; nodes?: string }): FastifyInstance;
  }
  const program = async (name: string): Promise<Program> => import(`../examples/coming-from/${name}.mjs`);

  it("a client keeps its session from the program before to the one with another import, to the one on nodes", async () => {
    const given = { secret, store: new MemoryStore() };
    const ask = client();
    const texts = [];

    for (const name of ["before", "import", "nodes"]) {
      const app = (await program(name)).start(given);
      for (let visit = 0; visit < 2; visit++) texts.push((await ask(app, "/")).text);
    }

    expect(texts).toEqual([1, 2, 3, 4, 5, 6].map((n) => `You were here ${n} times.`));
  });
});
