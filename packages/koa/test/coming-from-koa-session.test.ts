import { readFileSync } from "node:fs";
import type Koa from "koa";
import { afterAll, describe, expect, it, vi } from "vitest";
import { start } from "./running.js";
import { type Visitor, visitor } from "./visitor.js";

vi.stubEnv("SESSION_SECRET", "only for the programs of the page, 32 bytes and more");

const page = readFileSync(new URL("../../../docs/coming-from-koa-session.md", import.meta.url), "utf8");
const program = (name: string) =>
  readFileSync(new URL(`./coming-from-koa-session/${name}.mjs`, import.meta.url), "utf8");

const closings: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closings) await close();
});

/** Has a browser go on with another program of the page. */
async function goOn(before: Visitor | undefined, name: string): Promise<Visitor> {
  const running = await import(`./coming-from-koa-session/${name}.mjs`);
  const { app, sessions } = running as { app: Koa; sessions?: { manager: { close(): Promise<void> } } };
  if (sessions !== undefined) closings.push(() => sessions.manager.close());
  return visitor(await start(app), before?.cookies);
}

describe("docs/coming-from-koa-session.md", () => {
  it("shows the programs that are run here", () => {
    const shown = [...page.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, code]) => code);

    expect(shown).toEqual(
      ["before", "import-changed", "nodes", "cookies-before", "cookies-after"].map(program),
    );
  });

  it("logs nobody out: with koa-session, with the import changed, on nodes, and back and forth", async () => {
    const former = await goOn(undefined, "before");
    await former("/login?user=ann");
    expect((await former("/")).body).toBe("ann: 1");

    const changed = await goOn(former, "import-changed");
    expect((await changed("/")).body).toBe("ann: 2");
    const back = await goOn(changed, "before");
    expect((await back("/")).body).toBe("ann: 3");

    const onNodes = await goOn(back, "nodes");
    expect((await onNodes("/")).body).toBe("ann: 4");
    expect((await onNodes("/")).body).toBe("ann: 5");
    await onNodes("/logout");
    expect((await onNodes("/")).body).toBe("stranger: 1");
    expect((await back("/")).body, "the former session ended as it went on").toBe("stranger: 1");
  });

  it("logs nobody out either whose session was in the cookie", async () => {
    const former = await goOn(undefined, "cookies-before");
    await former("/login?user=ann");
    expect((await former("/")).body).toBe("ann: 1");

    const next = await goOn(former, "cookies-after");
    expect((await next("/")).body).toBe("ann: 2");
    expect((await next("/")).body).toBe("ann: 3");
    await next("/logout");
    expect((await next("/")).body).toBe("stranger: 1");
  });
});
