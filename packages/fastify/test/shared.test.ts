import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createSessionManager, memoryStorage, type SessionManagerOptions } from "@msm/core";
import { session as expressSession } from "@msm/express";
import fastifySession from "@msm/fastify";
import express from "express";
import fastify from "fastify";
import { afterEach, expect, it } from "vitest";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

it("a session is one under Fastify and Express, each in a process of its own, with one cookie, its age included", async () => {
  const options: SessionManagerOptions = {
    secret: "only for the test of shared sessions, 32 bytes and more",
    cookie: { name: "shared" },
    nodes: [{ id: "n1", storage: memoryStorage() }],
  };
  const [fastifyUrl, expressUrl] = [await startFastify(options), await startExpress(options)];
  let cookie = "";
  const ask = async (url: string) => {
    const answer = await fetch(url, { headers: { cookie } });
    const [set] = answer.headers.getSetCookie();
    cookie = set?.split(";")[0] ?? cookie;
    return { set, body: await answer.json() };
  };

  const first = await ask(`${fastifyUrl}/remember`);
  const second = await ask(`${expressUrl}/look`);
  const third = await ask(`${fastifyUrl}/look`);

  expect(first.set).toMatch(/^shared=.*Max-Age=60/);
  expect(second.body).toEqual({ user: "ann", names: ["cookie", "user"], age: 60_000 });
  expect(third.body).toEqual({ user: "ann of express", names: ["cookie", "user"], age: 60_000 });
});

async function startFastify(options: SessionManagerOptions): Promise<string> {
  const manager = createSessionManager(options);
  const app = fastify({ forceCloseConnections: true });
  ends.push(() => app.close().then(() => manager.close()));
  app.register(fastifySession, { manager });
  app.register((routes, _options, done) => {
    routes.get("/remember", async ({ session }) => {
      session.user = "ann";
      session.cookie.maxAge = 60_000;
      return {};
    });
    routes.get("/look", async ({ session }) => ({
      user: session.user,
      names: Object.keys(session).sort(),
      age: session.cookie.originalMaxAge,
    }));
    done();
  });
  return app.listen({ port: 0, host: "127.0.0.1" });
}

async function startExpress(options: SessionManagerOptions): Promise<string> {
  const manager = createSessionManager(options);
  const app = express();
  app.use(expressSession({ manager }));
  app.get("/look", ({ session }, res) => {
    const { user } = session as { user?: string };
    Object.assign(session, { user: `${user} of express` });
    res.json({ user, names: Object.keys(session).sort(), age: session.cookie.originalMaxAge });
  });
  const server = app.listen(0, "127.0.0.1");
  ends.push(() => {
    server.closeAllConnections();
    server.close();
    return manager.close();
  });
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
