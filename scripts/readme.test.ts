import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { freePort } from "../samples/src/cluster/free-port.js";
import { findServer, isListening, type Running, start, waitUntil } from "./processes.js";
import { readRepositoryFile } from "./reference-docs.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const examples = [...readRepositoryFile("README.md").matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(
  ([, code = ""]) => code,
);
const memcached = findServer("memcached");

it("README.md has one program, and the tests below run it", () => {
  expect(examples).toHaveLength(1);
});

describe.each(["express", "express4"])("README.md, the application with %s", (express) => {
  const missing = whatIsMissing();
  if (missing && !process.env.CI) {
    it.skip(`needs ${missing}`, () => undefined);
    return;
  }

  const ends: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  it("counts the visits of each browser", async () => {
    const { visit } = await startApplication();

    const anna = await visit();
    const bert = await visit();

    expect(anna.text).toBe("You were here 1 times.");
    expect((await visit(anna.cookie)).text).toBe("You were here 2 times.");
    expect((await visit(anna.cookie)).text).toBe("You were here 3 times.");
    expect((await visit(bert.cookie)).text).toBe("You were here 2 times.");
  });

  it.each(["n1", "n2"])("goes on counting when node %s is killed", async (id) => {
    const { visit, nodes } = await startApplication();
    const first = await visit();

    await nodes.get(id)?.end("SIGKILL");

    const second = await visit(first.cookie);
    expect(second.text).toBe("You were here 2 times.");
    expect((await visit(second.cookie ?? first.cookie)).text).toBe("You were here 3 times.");
  });

  async function startApplication() {
    if (missing) throw new Error(`${missing} is missing`);
    const [port, port1, port2] = [await freePort(), await freePort(), await freePort()];
    const nodes = new Map([
      ["n1", await startMemcached(port1)],
      ["n2", await startMemcached(port2)],
    ]);
    const code = replaceAll(examples[0] ?? "", {
      "cache1:11211": `127.0.0.1:${port1}`,
      "cache2:11211": `127.0.0.1:${port2}`,
      "listen(3000)": `listen(${port}, "127.0.0.1")`,
    });
    const folder = await makeProject(code);
    const env = { ...process.env, SESSION_SECRET: "a secret of this test, 32 bytes or longer" };
    const application = start(process.execPath, ["server.mjs"], { cwd: folder, env });
    ends.push(() => application.end());
    const url = `http://127.0.0.1:${port}/`;
    // Asked for a path that the application does not have, so that no session is made.
    await waitUntil(
      "the application answers",
      application,
      async () => (await fetch(`${url}up`)).status === 404,
    );

    const visit = async (cookie?: string) => {
      const response = await fetch(url, { headers: cookie ? { cookie } : {} });
      return { text: await response.text(), cookie: response.headers.get("set-cookie")?.split(";")[0] };
    };
    return { visit, nodes };
  }

  async function startMemcached(port: number): Promise<Running> {
    // As root, memcached wants to be told whom to run as.
    const user = process.getuid?.() === 0 ? ["-u", "root"] : [];
    const node = start(memcached ?? "", ["-l", "127.0.0.1", "-p", String(port), ...user]);
    ends.push(() => node.end("SIGKILL"));
    await waitUntil("memcached listens", node, () => isListening(port));
    return node;
  }

  /** A folder of its own with the program and the packages it imports, as after `npm install`. */
  async function makeProject(code: string): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), "msm-readme-"));
    ends.push(() => rm(folder, { recursive: true, force: true }));
    const modules = {
      "@msm/express": "packages/express",
      express: `packages/express/node_modules/${express}`,
    };
    for (const [name, target] of Object.entries(modules)) {
      const link = join(folder, "node_modules", name);
      await mkdir(dirname(link), { recursive: true });
      await symlink(join(root, target), link, "dir");
    }
    await writeFile(join(folder, "server.mjs"), code);
    return folder;
  }
});

/** What this test needs and has not, in words; undefined where all is there. */
function whatIsMissing(): string | undefined {
  if (!memcached) return "memcached, which is not installed";
  const built = ["core", "express"].every((name) =>
    existsSync(join(root, "packages", name, "dist/index.js")),
  );
  return built ? undefined : "the built packages (pnpm build)";
}

/** Fails where the text lacks one of the keys, so that a changed example cannot go untested. */
function replaceAll(text: string, replacements: Record<string, string>): string {
  return Object.entries(replacements).reduce((replaced, [from, to]) => {
    if (!replaced.includes(from)) throw new Error(`README's program has no ${from}`);
    return replaced.replaceAll(from, to);
  }, text);
}
