import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { claimPorts } from "../samples/src/cluster/port-block.js";
import { findServer, type Running, start, waitUntil } from "./processes.js";

const ports = await claimPorts();
afterAll(() => ports.release());

const page = readFileSync(fileURLToPath(new URL("../docs/load-balancers.md", import.meta.url)), "utf8");
const routes = ["app1", "app2", "app3"] as const;
type Route = (typeof routes)[number];

interface Balancer {
  readonly program: string;
  /** The configuration around the documented block, and the arguments that run it in the foreground. */
  readonly configure: (block: string, folder: string) => { config: string; args: (file: string) => string[] };
}

const balancers: Record<string, Balancer> = {
  nginx: {
    program: "nginx",
    configure: (block, folder) => ({
      config: nginxConfig(block, folder),
      args: (file) => ["-p", folder, "-e", join(folder, "error.log"), "-c", file],
    }),
  },
  haproxy: {
    program: "haproxy",
    configure: (block) => ({
      config: `global\n  maxconn 256\n\n${block}`,
      args: (file) => ["-db", "-f", file],
    }),
  },
};

describe.each(Object.entries(balancers))("docs/load-balancers.md, %s", (language, balancer) => {
  const program = findServer(balancer.program);
  if (!program && !process.env.CI) {
    it.skip(`needs ${balancer.program}, which is not installed`, () => undefined);
    return;
  }

  let apps: App[];
  let folder: string;
  let running: Running | undefined;
  let port: number;

  beforeAll(async () => {
    if (!program) throw new Error(`${balancer.program} is not installed`);
    apps = await Promise.all(routes.map(startApp));
    port = await ports.next();
    folder = await mkdtemp(join(tmpdir(), "msm-balancer-"));
    const { config, args } = balancer.configure(withPorts(codeBlock(language), port, apps), folder);
    const file = join(folder, "balancer.cfg");
    await writeFile(file, config);
    running = start(program, args(file));
    await waitUntil(
      "the balancer answers",
      running,
      async () => (await send("GET", undefined)).status === 200,
    );
  });

  afterAll(async () => {
    await running?.end();
    await Promise.all((apps ?? []).map((app) => app.stop()));
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  it.each(routes)("sends what ends in .%s to that process", async (route) => {
    for (let count = 0; count < 10; count++) expect(await servedBy("GET", cookieOf(route))).toBe(route);
  });

  it("spreads requests without a cookie, with an unknown route, or without any", async () => {
    for (const cookie of [undefined, "sid=abc-n1-mac.app9", "sid=abc-n1-mac.xapp1", "sid=abc-n1-mac"]) {
      const served = new Set<string | undefined>();
      for (let count = 0; count < 9; count++) served.add(await servedBy("GET", cookie));
      expect(served.size, String(cookie)).toBe(3);
    }
  });

  it("lets a stream through while it is being written", async () => {
    const events = (await open("GET", cookieOf("app2"), "/stream"))[Symbol.asyncIterator]();

    // The process ends the stream only when it is told to, which is after its first event was received.
    expect(String((await events.next()).value)).toBe("data: 1\n\n");
    await send("POST", cookieOf("app2"), "/end-stream");
    expect(String((await events.next()).value)).toBe("data: 2\n\n");
    expect((await events.next()).done).toBe(true);
  });

  it("goes on elsewhere when the process is killed, and comes back to it when it is back", async () => {
    const app = appOf("app2");
    await app.stop();

    for (let count = 0; count < 20; count++) {
      const method = count % 2 === 0 ? "GET" : "POST";
      const { status, route } = await send(method, cookieOf("app2"));
      expect(status, `${method} ${count}`).toBe(200);
      expect(route).not.toBe("app2");
    }

    await app.start();
    await waitUntil(
      "app2 is used again",
      running!,
      async () => (await servedBy("GET", cookieOf("app2"))) === "app2",
    );
  });

  it("passes a 503 of the application on, and goes on using the process", async () => {
    expect((await send("GET", cookieOf("app1"), "/unavailable")).status).toBe(503);
    expect(await servedBy("GET", cookieOf("app1"))).toBe("app1");
  });

  const appOf = (route: Route) => apps[routes.indexOf(route)]!;
  const cookieOf = (route: Route) => `sid=0123456789abcdef-n1-mac-with_base64url.${route}`;

  async function servedBy(method: string, cookie: string | undefined) {
    return (await send(method, cookie)).route;
  }

  async function send(method: string, cookie: string | undefined, path = "/") {
    const response = await open(method, cookie, path);
    return { status: response.statusCode, route: await textOf(response) };
  }

  function open(method: string, cookie: string | undefined, path: string): Promise<IncomingMessage> {
    const headers = cookie ? { cookie } : {};
    return new Promise((resolve, reject) => {
      const sent = request({ host: "127.0.0.1", port, method, path, headers, agent: false }, resolve);
      sent.on("error", reject);
      sent.end();
    });
  }
});

interface App {
  readonly port: number;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** A process in the balancer's eyes: a server that answers with its route, on a port that it keeps. */
async function startApp(route: Route): Promise<App> {
  let endStream = () => {};
  const server = createServer((incoming, response) => {
    if (incoming.url === "/stream") {
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
      endStream = () => response.end("data: 2\n\n");
      return;
    }
    if (incoming.url === "/end-stream") endStream();
    response.statusCode = incoming.url === "/unavailable" ? 503 : 200;
    response.end(route);
  });
  const port = await ports.next();
  const app: App = {
    port,
    start: () =>
      new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, "127.0.0.1", resolve);
      }),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  await app.start();
  return app;
}

function codeBlock(language: string): string {
  const block = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "m").exec(page)?.[1];
  if (!block) throw new Error(`docs/load-balancers.md has no \`\`\`${language} block`);
  return block;
}

/** The documented block with the ports of this run. Fails where the page names other ports, so that none stays. */
function withPorts(block: string, port: number, apps: readonly App[]): string {
  const ports = new Map([
    ["8080", String(port)],
    ...apps.map((app, index) => [`300${index + 1}`, String(app.port)] as const),
  ]);
  for (const documented of ports.keys()) {
    if (!block.includes(documented)) throw new Error(`the configuration does not name port ${documented}`);
  }
  return block
    .replace(/\b(?:8080|300[123])\b/g, (found) => ports.get(found) ?? found)
    .replace(`bind :${port}`, `bind 127.0.0.1:${port}`)
    .replace(`listen ${port}`, `listen 127.0.0.1:${port}`);
}

function nginxConfig(block: string, folder: string): string {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${join(folder, name)};`,
  );
  return `daemon off; worker_processes 1; pid ${join(folder, "pid")};
events { worker_connections 256; }
http { access_log off; ${paths.join(" ")}
${block}
}`;
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const bytes of response) text += String(bytes);
  return text;
}
