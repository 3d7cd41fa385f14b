import { once } from "node:events";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { sessionName } from "../session-name.js";
import type { AppAddress, BalancerEvent } from "./app-pool.js";
import { type Balancer, startBalancer } from "./balancer.js";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const open: { close(): unknown }[] = [];

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

const sessionId = "0123456789abcdef".repeat(3);
const cookieFor = (route: string, node = "n1") => `sid=${sessionId}-${node}-${"m".repeat(43)}.${route}`;

describe("the balancer", () => {
  it("sends a request to the process that its cookie's route names", async () => {
    const { balancer } = await cluster(["app1", "app2", "app3"]);

    const served = await Promise.all(
      ["app1", "app2", "app3", "app2"].map((route) => ask(balancer, { cookie: cookieFor(route) })),
    );

    expect(served.map(({ body }) => body)).toEqual(["app1 /", "app2 /", "app3 /", "app2 /"]);
  });

  it("sends requests without a route of ours to one process after the other", async () => {
    const { balancer } = await cluster(["app1", "app2", "app3"]);

    const served = [];
    for (const cookie of ["", "", "sid=nonsense.app1", "other=1", cookieFor("app9"), ""]) {
      served.push((await ask(balancer, { cookie })).body);
    }

    expect(served).toEqual(["app1 /", "app2 /", "app3 /", "app1 /", "app2 /", "app3 /"]);
  });

  it("minds no route where it is not sticky", async () => {
    const { balancer } = await cluster(["app1", "app2"], { sticky: false });

    const served = [];
    for (let i = 0; i < 4; i += 1) served.push((await ask(balancer, { cookie: cookieFor("app1") })).body);

    expect(served).toEqual(["app1 /", "app2 /", "app1 /", "app2 /"]);
  });

  it("goes on with the next process where one refuses the connection, body and all", async () => {
    const { balancer, apps, events } = await cluster(["app1", "app2", "app3"], { handler: echoBody });
    await apps.app2?.close();

    const served = await ask(balancer, {
      method: "POST",
      cookie: cookieFor("app2"),
      body: "x".repeat(300_000),
    });

    expect(served.status).toBe(200);
    expect(served.body).toBe(`app3 ${"x".repeat(300_000)}`);
    expect(served.headers["x-served-by"]).toBe("app3");
    expect(events).toContainEqual({
      kind: "failedOver",
      session: sessionName(sessionId),
      from: "app2",
      to: "app3",
    });
    expect(balancer.isUp("app2")).toBe(false);
  });

  it("uses a process again once it is back", async () => {
    const { balancer, apps, addresses } = await cluster(["app1", "app2"]);
    await apps.app1?.close();
    await vi.waitUntil(() => !balancer.isUp("app1"), { timeout: 10_000 });

    await startApp("app1", (_, response) => response.end("app1 is back"), addresses.app1?.port);
    await vi.waitUntil(() => balancer.isUp("app1"), { timeout: 10_000 });

    expect((await ask(balancer, { cookie: cookieFor("app1") })).body).toBe("app1 is back");
  });

  it("does not send a request again that may have been delivered: it answers 502 and reports it", async () => {
    let delivered = 0;
    const handler =
      (_: string): Handler =>
      (request) => {
        delivered += 1;
        request.socket.destroy();
      };
    const { balancer, events } = await cluster(["app1", "app2"], { handler });

    const served = await ask(balancer, { path: "/counter?a=b", cookie: cookieFor("app1") });

    expect(served.status).toBe(502);
    expect(delivered).toBe(1);
    expect(events).toContainEqual({ kind: "unanswered", app: "app1", method: "GET", path: "/counter" });
    expect(balancer.isUp("app1")).toBe(false);
  });

  it("answers 504 where a process went silent, without sending the request again", async () => {
    let isSilent = false;
    const { balancer, apps, events } = await cluster(["app1", "app2"]);
    const { server } = apps.app1 as App;
    const [answer] = server.listeners("request") as [Handler];
    server.removeAllListeners("request").on("request", (request, response) => {
      if (!isSilent) answer(request, response);
    });

    isSilent = true;
    const served = await ask(balancer, { cookie: cookieFor("app1") });

    expect(served.status).toBe(504);
    expect(events).toContainEqual({ kind: "unanswered", app: "app1", method: "GET", path: "/" });
    expect((await ask(balancer, { cookie: cookieFor("app1") })).body).toBe("app2 /");
  });

  it("answers 503 where no process can be reached", async () => {
    const { balancer, apps } = await cluster(["app1", "app2"]);
    await Promise.all([apps.app1?.close(), apps.app2?.close()]);

    expect((await ask(balancer, {})).status).toBe(503);
  });

  it("passes events on as they come", async () => {
    let stream: ServerResponse | undefined;
    const handler = (): Handler => (_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.flushHeaders();
      stream = response;
    };
    const { balancer } = await cluster(["app1"], { handler });
    const asking = request({ host: balancer.host, port: balancer.port, path: "/events" }).end();

    const [answer] = (await once(asking, "response")) as [IncomingMessage];
    const chunks: string[] = [];
    answer.on("data", (chunk) => chunks.push(String(chunk)));
    for (const event of ["data: 1\n\n", "data: 2\n\n"]) {
      stream?.write(event);
      await vi.waitUntil(() => chunks.at(-1) === event, { timeout: 10_000 });
    }

    expect(chunks).toEqual(["data: 1\n\n", "data: 2\n\n"]);
    asking.destroy();
  });

  it("cuts the client's connection where a process dies in the middle of its answer", async () => {
    const handler = (): Handler => (_, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("a part", () => response.destroy());
    };
    const { balancer } = await cluster(["app1"], { handler });

    await expect(ask(balancer, {})).rejects.toThrow(/aborted|ECONNRESET/);
  });

  it("tells the process where its client has gone, and thinks no worse of it", async () => {
    let gone = false;
    let isAsked = false;
    const handler = (): Handler => (_, response) => {
      isAsked = true;
      response.on("close", () => {
        gone = true;
      });
    };
    const { balancer, events } = await cluster(["app1"], { handler });
    const asking = request({ host: balancer.host, port: balancer.port }).end();
    asking.on("error", () => {});
    await vi.waitUntil(() => isAsked, { timeout: 10_000 });

    asking.destroy();

    await vi.waitUntil(() => gone, { timeout: 10_000 });
    expect(events).toEqual([{ kind: "appUp", app: "app1" }]);
  });

  it("passes a websocket through, both ways", async () => {
    const { balancer, apps } = await cluster(["app1", "app2"]);
    apps.app2?.server.on("upgrade", (_request, socket, head) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n");
      socket.write(head);
      socket.pipe(socket);
    });
    const client = connect(balancer.port, balancer.host);
    client.setEncoding("utf8");
    let received = "";
    client.on("data", (text: string) => {
      received += text;
    });

    client.write(
      `GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nCookie: ${cookieFor("app2")}\r\n\r\nhello`,
    );
    await vi.waitUntil(() => received.endsWith("hello"), { timeout: 10_000 });
    client.write(" again");
    await vi.waitUntil(() => received.endsWith("hello again"), { timeout: 10_000 });

    expect(received).toMatch(/^HTTP\/1.1 101 /);
    client.destroy();
  });

  it("says who the client is, whatever the client says of itself", async () => {
    const handler = (): Handler => (request, response) => response.end(JSON.stringify(request.headers));
    const { balancer } = await cluster(["app1"], { handler });

    const served = await ask(balancer, {
      headers: { "x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "https" },
    });

    expect(JSON.parse(served.body)).toMatchObject({
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "http",
      "x-forwarded-host": `127.0.0.1:${balancer.port}`,
      host: `127.0.0.1:${balancer.port}`,
    });
  });

  it("tells the node that has the session after the response", async () => {
    const handler = (): Handler => (request, response) => {
      if (request.url === "/moved")
        response.setHeader("Set-Cookie", ["a=b", `${cookieFor("app1", "n2")}; Path=/`]);
      if (request.url === "/logged-out") response.setHeader("Set-Cookie", "sid=; Max-Age=0");
      response.end();
    };
    const { balancer } = await cluster(["app1"], { handler });
    const nodeAfter = async (path: string, cookie = cookieFor("app1")) =>
      (await ask(balancer, { path, cookie })).headers["x-session-node"];

    expect(await nodeAfter("/")).toBe("n1");
    expect(await nodeAfter("/moved")).toBe("n2");
    expect(await nodeAfter("/logged-out")).toBe("none");
    expect(await nodeAfter("/", "")).toBe("none");
  });

  it("keeps repeated headers apart", async () => {
    const handler = (): Handler => (_, response) => {
      response.setHeader("Set-Cookie", ["a=1", "b=2"]);
      response.end();
    };
    const { balancer } = await cluster(["app1"], { handler });

    expect((await ask(balancer, {})).headers["set-cookie"]).toEqual(["a=1", "b=2"]);
  });
});

const echoBody =
  (name: string): Handler =>
  async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    response.end(`${name} ${body}`);
  };

const nameAndPath =
  (name: string): Handler =>
  (request, response) =>
    response.end(`${name} ${request.url}`);

interface App {
  readonly address: AppAddress;
  readonly server: Server;
  close(): Promise<void>;
}

async function startApp(name: string, handler: Handler, port = 0): Promise<App> {
  const server = createServer((request, response) => {
    if (request.url === "/health") response.end(JSON.stringify({ name }));
    else handler(request, response);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const app: App = {
    address: { name, host: "127.0.0.1", port: (server.address() as AddressInfo).port },
    server,
    async close() {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  open.push(app);
  return app;
}

async function cluster(
  names: readonly string[],
  { handler = nameAndPath, sticky = true }: { handler?: (name: string) => Handler; sticky?: boolean } = {},
) {
  const started = await Promise.all(names.map((name) => startApp(name, handler(name))));
  const apps: Record<string, App> = Object.fromEntries(started.map((app) => [app.address.name, app]));
  const addresses = Object.fromEntries(started.map((app) => [app.address.name, app.address]));
  const events: BalancerEvent[] = [];
  const onEvent = (event: BalancerEvent) => events.push(event);
  const balancer = await startBalancer({ apps: Object.values(addresses), sticky, port: 0, onEvent });
  open.push(balancer);
  await vi.waitUntil(() => names.every((name) => balancer.isUp(name)), { timeout: 10_000 });
  return { balancer, apps, addresses, events };
}

interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly cookie?: string;
  readonly body?: string;
  readonly headers?: Record<string, string>;
}

async function ask(balancer: Balancer, { method = "GET", path = "/", cookie, body, headers = {} }: Asked) {
  const asking = request({
    host: balancer.host,
    port: balancer.port,
    method,
    path,
    agent: false,
    headers: { ...headers, ...(cookie ? { cookie } : {}) },
  }).end(body);
  const [answer] = (await once(asking, "response")) as [IncomingMessage];
  let text = "";
  for await (const chunk of answer) text += chunk;
  return { status: answer.statusCode, headers: answer.headers, body: text };
}
