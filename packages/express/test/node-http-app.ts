import type { RequestListener, ServerResponse } from "node:http";
import type { AdapterGiven } from "@msm/conformance";
import { session, type WithSession } from "@msm/express";

/** Answers one route; `next` is where Express would go on. */
type Route = (req: WithSession, res: ServerResponse, query: URLSearchParams) => void | Promise<void>;

/** Gives an application without a framework, with the middleware as connect would call it, the routes of the adapter contract. */
export function nodeHttpApp(given: AdapterGiven): RequestListener {
  const sessions = session({ manager: given.manager });
  const routes = routesFor(given);

  return (req, res) => {
    const { pathname, searchParams } = new URL(req.url ?? "/", "http://localhost");
    const method = req.method === "HEAD" ? "GET" : req.method;
    const route = routes[`${method} ${pathname}`];
    const fail = (error: unknown) => answerError(res, error);
    const run = async () => {
      if (pathname.startsWith("/locked")) await locked(req as WithSession, res);
      await route?.(req as WithSession, res, searchParams);
    };
    sessions(req, res, (error) => (error ? fail(error) : void run().catch(fail)));
  };

  function locked(req: WithSession, res: ServerResponse): Promise<void> {
    return new Promise((resolve, reject) => {
      sessions.locked(req, res, (error) => (error ? reject(error) : resolve()));
    });
  }
}

function answerError(res: ServerResponse, error: unknown): void {
  if (res.headersSent) return;
  const { status = 500, headers = {} } = error as { status?: number; headers?: Record<string, string> };
  res.writeHead(status, { ...headers, "Content-Type": "text/plain" }).end("failed");
}

function json(res: ServerResponse, value: unknown): void {
  const body = JSON.stringify(value);
  res.setHeader("Content-Type", "application/json");
  res.setHeader("Content-Length", Buffer.byteLength(body));
  res.end(body);
}

function routesFor(given: AdapterGiven): Record<string, Route> {
  const events = { "Content-Type": "text/event-stream" };
  return {
    "GET /read"({ session: { n, name, user } }, res) {
      json(res, { n: n ?? null, name: name ?? null, user: user ?? null });
    },
    "GET /has-session"(req, res) {
      json(res, { hasSession: req.session !== undefined });
    },
    "GET /count"(req, res) {
      req.session.n = (req.session.n ?? 0) + 1;
      json(res, { n: req.session.n });
    },
    async "GET /name"(req, res, query) {
      req.session.name = query.get("name") ?? "";
      await given.nextTurn();
      json(res, { name: req.session.name });
    },
    async "POST /length"(req, res) {
      let length = 0;
      for await (const chunk of req) length += chunk.length;
      req.session.n = length;
      json(res, { n: length });
    },
    "GET /throw"(req) {
      req.session.n = 7;
      throw new Error("boom");
    },
    "GET /own-cookies"(req, res) {
      req.session.n = 1;
      res.setHeader("Set-Cookie", ["a=1", "b=2"]);
      res.end("ok");
    },
    "GET /redirect"(req, res) {
      req.session.n = (req.session.n ?? 0) + 1;
      res.writeHead(302, { Location: "/read" }).end();
    },
    "GET /described"(req, res) {
      req.session.n = 1;
      res
        .writeHead(200, {
          ETag: '"v1"',
          "Last-Modified": new Date(0).toUTCString(),
          "Cache-Control": "public, max-age=60",
          "Content-Type": "text/csv",
        })
        .end("secret");
    },
    "GET /stream"(req, res) {
      req.session.n = 1;
      for (const part of ["a", "b", given.text]) res.write(part);
      res.end();
    },
    "GET /pipe"(req, res) {
      req.session.n = 1;
      given.largeBody().pipe(res);
    },
    async "GET /events"(req, res) {
      req.session.n = 1;
      res.writeHead(200, events).flushHeaders();
      res.write("data: 1\n\n");
      await given.gate();
      req.session.n = 2;
      res.end("data: 2\n\n");
    },
    "GET /endless"(req, res) {
      req.session.n = 1;
      res.writeHead(200, events).write("data: 1\n\n");
    },
    "GET /big"(req, res) {
      req.session.n = 1;
      res.setHeader("Content-Length", given.text.length);
      res.end(req.method === "HEAD" ? undefined : given.text);
    },
    "GET /empty"(req, res) {
      req.session.n = 1;
      res.writeHead(204).end();
    },
    "GET /cached"(req, res) {
      req.session.n = 1;
      res.setHeader("ETag", '"v1"');
      if (req.headers["if-none-match"] === '"v1"') res.writeHead(304).end();
      else res.end("fresh");
    },
    "GET /twice"(req, res) {
      req.session.n = 1;
      res.end("once");
      res.end("again");
    },
    async "GET /slow"(req, res) {
      given.entered();
      await given.gate();
      req.session.n = 42;
      res.end("late");
    },
    async "GET /locked-count"(req, res) {
      const before = req.session.n ?? 0;
      await given.nextTurn();
      req.session.n = before + 1;
      json(res, { n: req.session.n });
    },
    async "GET /locked-slow"(req, res) {
      given.entered();
      await given.gate();
      req.session.n = 42;
      res.end("late");
    },
    async "GET /locked-events"(req, res) {
      req.session.n = 1;
      res.writeHead(200, events).flushHeaders();
      res.write("data: 1\n\n");
      await given.gate();
      res.end("data: 2\n\n");
    },
    async "GET /locked-stream"(req, res) {
      req.session.n = 1;
      res.write("a");
      await given.gate();
      req.session.n = 2;
      res.end("b");
    },
    "GET /never"(req) {
      given.entered();
      req.session.n = 9;
    },
    async "GET /destroy"(req, res) {
      await req.session.destroy();
      res.end("bye");
    },
    async "GET /sign-in"(req, res) {
      await req.session.regenerate();
      req.session.user = "ann";
      res.end("hi");
    },
  };
}
