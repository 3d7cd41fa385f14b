import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { claimPorts, type PortBlock } from "../samples/src/cluster/port-block.js";
import { findServer, isListening, type Running, start, waitUntil } from "./processes.js";
import { readRepositoryFile } from "./reference-docs.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const programsOf = (page: string) =>
  [...readRepositoryFile(page).matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, code = ""]) => code);
const examples = programsOf("README.md");
const fromMsm = programsOf("docs/coming-from-memcached-session-manager.md");
const memcached = findServer("memcached");

it("README.md and the page for users of memcached-session-manager have one program each, and the tests below run it", () => {
  expect([examples.length, fromMsm.length]).toEqual([1, 1]);
});

describe.each(["express", "express4"])("README.md, the application with %s", (express) => {
  const missing = whatIsMissing();
  if (missing && !process.env.CI) {
    it.skip(`needs ${missing}`, () => undefined);
    return;
  }

  const ends: (() => Promise<void>)[] = [];
  let ports: PortBlock;
  beforeEach(async () => {
    ports = await claimPorts();
    ends.push(() => ports.release());
  });
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  it("counts the visits of each browser", async () => {
    const { visit } = await startApplication(await startNodes());

    const anna = await visit();
    const bert = await visit();

    expect(anna.text).toBe("You were here 1 times.");
    expect((await visit(anna.cookie)).text).toBe("You were here 2 times.");
    expect((await visit(anna.cookie)).text).toBe("You were here 3 times.");
    expect((await visit(bert.cookie)).text).toBe("You were here 2 times.");
  });

  it.each(["n1", "n2"] as const)("goes on counting when node %s is killed", async (id) => {
    const nodes = await startNodes();
    const { visit } = await startApplication(nodes);
    const first = await visit();

    await nodes[id].end("SIGKILL");

    const second = await visit(first.cookie);
    expect(second.text).toBe("You were here 2 times.");
    expect((await visit(second.cookie ?? first.cookie)).text).toBe("You were here 3 times.");
  });

  it("answers 503 and leaves the cookie alone while all nodes are away", async () => {
    const nodes = await startNodes();
    const { visit } = await startApplication(nodes);
    const first = await visit();

    await nodes.n1.end("SIGKILL");
    await nodes.n2.end("SIGKILL");

    const second = await visit(first.cookie);
    expect(second.status).toBe(503);
    expect(second.cookie).toBeUndefined();
  });

  it("with a route, is sticky: another process takes the session over when the first is killed", async () => {
    const nodes = await startNodes();
    const app1 = await startApplication(nodes, sticky("app1"));
    const app2 = await startApplication(nodes, sticky("app2"));
    const first = await app1.visit();
    expect(first.cookie).toMatch(/\.app1$/);

    await app1.process.end("SIGKILL");

    const second = await app2.visit(first.cookie);
    expect(second.text).toBe("You were here 2 times.");
    expect(second.cookie).toMatch(/\.app2$/);
    expect((await app2.visit(second.cookie)).text).toBe("You were here 3 times.");
  });

  it("with a route, goes on from memory when all nodes are killed", async () => {
    const nodes = await startNodes();
    const { visit } = await startApplication(nodes, sticky("app1"));
    const first = await visit();

    await nodes.n1.end("SIGKILL");
    await nodes.n2.end("SIGKILL");

    expect((await visit(first.cookie)).text).toBe("You were here 2 times.");
    expect((await visit(first.cookie)).text).toBe("You were here 3 times.");
  });

  it("what an application under memcached-session-manager becomes serves sticky sessions, its route last in the cookie", async () => {
    const { visit } = await startApplication(await startNodes(), "", fromMsm[0]);

    const first = await visit();

    expect(first.text).toBe("You were here 1 times.");
    expect(first.cookie).toMatch(/^sid=.*\.app1$/);
    expect((await visit(first.cookie)).text).toBe("You were here 2 times.");
  });

  /** The two options that README tells to add. */
  function sticky(route: string): string {
    return `mode: "sticky", route: "${route}",`;
  }

  async function startNodes() {
    const [port1, port2] = [await ports.next(), await ports.next()];
    return { port1, port2, n1: await startMemcached(port1), n2: await startMemcached(port2) };
  }

  async function startApplication(
    nodes: { port1: number; port2: number },
    moreOptions = "",
    program = examples[0] ?? "",
  ) {
    const port = await ports.next();
    const code = replaceAll(program, {
      "session({": `session({ ${moreOptions}`,
      "cache1:11211": `127.0.0.1:${nodes.port1}`,
      "cache2:11211": `127.0.0.1:${nodes.port2}`,
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
      const setCookie = response.headers.get("set-cookie")?.split(";")[0];
      return { status: response.status, text: await response.text(), cookie: setCookie };
    };
    return { visit, process: application };
  }

  async function startMemcached(port: number): Promise<Running> {
    if (missing) throw new Error(`${missing} is missing`);
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
