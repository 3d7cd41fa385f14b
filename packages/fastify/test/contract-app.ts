import { Readable } from "node:stream";
import type { AdapterGiven } from "@msm/conformance";
import fastifySession from "@msm/fastify";
import type { FastifyInstance } from "fastify";

declare module "fastify" {
  interface Session {
    n?: number;
    name?: string;
    user?: string;
  }
}

/** Gives a Fastify application the routes of the adapter contract. */
export function contractApp(app: FastifyInstance, given: AdapterGiven): FastifyInstance {
  app.register(fastifySession, { manager: given.manager });
  app.register((sessions, _options, done) => {
    addRoutes(sessions, given);
    done();
  });
  return app;
}

function addRoutes(app: FastifyInstance, given: AdapterGiven): void {
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  const locked = { config: { sessionLock: true } };

  app.get("/read", async ({ session: { n, name, user } }) => ({
    n: n ?? null,
    name: name ?? null,
    user: user ?? null,
  }));
  app.get("/has-session", async (request) => ({ hasSession: request.session !== null }));
  app.get("/count", async ({ session }) => {
    session.n = (session.n ?? 0) + 1;
    return { n: session.n };
  });
  app.get<{ Querystring: { name: string } }>("/name", async ({ session, query }) => {
    session.set("name", query.name);
    await given.nextTurn();
    return { name: session.get("name") };
  });
  app.post<{ Body: Buffer }>("/length", async ({ session, body }) => {
    session.n = body.length;
    return { n: session.n };
  });
  app.get("/throw", async ({ session }) => {
    session.n = 7;
    throw new Error("boom");
  });
  app.get("/own-cookies", async ({ session }, reply) => {
    session.n = 1;
    reply.header("set-cookie", "a=1").header("set-cookie", "b=2");
    return "ok";
  });
  app.get("/redirect", async ({ session }, reply) => {
    session.n = (session.n ?? 0) + 1;
    return reply.redirect("/read");
  });
  app.get("/described", async ({ session }, reply) => {
    session.n = 1;
    reply.headers({
      etag: '"v1"',
      "last-modified": new Date(0).toUTCString(),
      "cache-control": "public, max-age=60",
    });
    return reply.type("text/csv").send("secret");
  });
  app.get("/stream", ({ session }, reply) => {
    session.n = 1;
    reply.hijack();
    for (const part of ["a", "b", given.text]) reply.raw.write(part);
    reply.raw.end();
  });
  app.get("/pipe", async ({ session }, reply) => {
    session.n = 1;
    return reply.send(given.largeBody());
  });
  app.get("/events", async ({ session }, reply) => {
    session.n = 1;
    reply.hijack();
    reply.raw.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    reply.raw.write("data: 1\n\n");
    await given.gate();
    session.n = 2;
    reply.raw.end("data: 2\n\n");
  });
  app.get("/endless", ({ session }, reply) => {
    session.n = 1;
    reply.hijack();
    reply.raw.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
  });
  app.get("/big", async ({ session }) => {
    session.n = 1;
    return given.text;
  });
  app.get("/empty", async ({ session }, reply) => {
    session.n = 1;
    return reply.code(204).send();
  });
  app.get("/cached", async ({ session, headers }, reply) => {
    session.n = 1;
    reply.header("etag", '"v1"');
    return headers["if-none-match"] === '"v1"' ? reply.code(304).send() : "fresh";
  });
  app.get("/twice", ({ session }, reply) => {
    session.n = 1;
    void reply.send("once");
    void reply.send("again"); // Fastify warns of it in the log
  });
  app.get("/slow", async ({ session }) => {
    given.entered();
    await given.gate();
    session.n = 42;
    return "late";
  });
  app.get("/locked-count", locked, async ({ session }) => {
    const before = session.n ?? 0;
    await given.nextTurn();
    session.n = before + 1;
    return { n: session.n };
  });
  app.get("/locked-slow", locked, async ({ session }) => {
    given.entered();
    await given.gate();
    session.n = 42;
    return "late";
  });
  app.get("/locked-events", locked, async ({ session }, reply) => {
    session.n = 1;
    reply.hijack();
    reply.raw.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    reply.raw.write("data: 1\n\n");
    await given.gate();
    reply.raw.end("data: 2\n\n");
  });
  app.get("/locked-stream", locked, async ({ session }, reply) => {
    session.n = 1;
    async function* parts() {
      yield "a";
      await given.gate();
      session.n = 2;
      yield "b";
    }
    return reply.send(Readable.from(parts(), { objectMode: false }));
  });
  app.get("/never", ({ session }) => {
    given.entered();
    session.n = 9;
  });
  app.get("/destroy", ({ session }, reply) => {
    session.destroy((error) => reply.send(error ?? "bye"));
  });
  app.get("/sign-in", (request, reply) => {
    request.session.regenerate((error) => {
      if (error !== undefined) return reply.send(error);
      request.session.user = "ann";
      return reply.send("hi");
    });
  });
}
