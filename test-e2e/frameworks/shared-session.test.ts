import { once } from "node:events";
import type { RequestListener } from "node:http";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { waitUntil } from "@msm/conformance";
import {
  createSessionManager,
  memoryStorage,
  type SessionManager,
  type SessionManagerOptions,
} from "@msm/core";
import { session as expressSession } from "@msm/express";
import fastifySession from "@msm/fastify";
import { session as koaSession } from "@msm/koa";
import express from "express";
import fastify from "fastify";
import Koa from "koa";
import { afterEach, describe, expect, it } from "vitest";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** What each application does with the session of a request, in its framework's own manner. */
interface Handled {
  /** Those of the session that its framework shows. */
  readonly names: readonly string[];
  readonly seen: unknown;
  readonly ageMs: number | undefined;
}

const frameworks = { express: startExpress, koa: startKoa, fastify: startFastify };
type Framework = keyof typeof frameworks;
const names = Object.keys(frameworks) as Framework[];

describe.each(["non-sticky", "sticky"] as const)(
  "%s: one session under Express, Koa and Fastify, with one cookie",
  (mode) => {
    /** Each framework in a process of its own, as far as the nodes know; they share these. */
    async function startSite() {
      const nodes = ["n1", "n2"].map((id) => ({ id, storage: memoryStorage() }));
      const urls = {} as Record<Framework, string>;
      for (const name of names) {
        const manager = createSessionManager({
          secret: "only for the test of shared sessions, 32 bytes and more",
          cookie: { name: "shared" },
          nodes,
          ...(mode === "sticky" ? { mode, route: name } : { mode }),
        } as SessionManagerOptions);
        urls[name] = await frameworks[name](manager);
      }
      let cookie = "";
      const ask = async (name: Framework, path: string, sent = cookie) => {
        const answer = await fetch(urls[name] + path, { headers: { cookie: sent } });
        const [set] = answer.headers.getSetCookie();
        cookie = set?.split(";")[0] ?? cookie;
        return { set, cookie, body: (await answer.json()) as Handled };
      };
      return { ask };
    }

    it.each(names)("that %s began goes on in the others, and its cookie's age with it", async (first) => {
      const { ask } = await startSite();

      const begun = await ask(first, "/begin");
      const others = names.filter((name) => name !== first);
      for (const [at, name] of others.entries()) {
        const { body } = await ask(name, "/push");
        expect(body).toEqual({
          names: ["user", "visits"],
          seen: [first, ...others.slice(0, at), name],
          ageMs: 60_000,
        });
      }

      expect(begun.set).toMatch(/^shared=.*Max-Age=60/i);
      expect((await ask(first, "/push")).body.seen).toEqual([first, ...others, first]);
    });

    it.each(names)("that %s ended is over in the others", async (last) => {
      const { ask } = await startSite();
      const { cookie } = await ask(names.find((name) => name !== last)!, "/begin");

      await ask(last, "/end", cookie);

      // A sticky session's former owner hears of the end with the next notice, half a second later.
      for (const name of names) {
        const isOver = async () => (await ask(name, "/look", cookie)).body.names.length === 0;
        if (mode === "sticky") await waitUntil(`${name} knows`, isOver);
        expect(await isOver()).toBe(true);
      }
    });
  },
);

function begin(session: Record<string, unknown>, name: Framework): void {
  session.user = "ann";
  session.visits = [name];
}

function push(session: Record<string, unknown>, name: Framework): void {
  (session.visits as string[]).push(name);
}

const shown = (session: object, ageMs: unknown): Handled => ({
  names: Object.keys(session)
    .filter((name) => name !== "cookie") // its own object, in Express and Fastify
    .sort(),
  seen: (session as { visits?: unknown }).visits,
  ageMs: typeof ageMs === "number" ? ageMs : undefined,
});

async function startExpress(manager: SessionManager): Promise<string> {
  const app = express();
  app.use(expressSession({ manager }));
  const attributes = (req: express.Request) => req.session as unknown as Record<string, unknown>;
  app.get("/begin", (req, res) => {
    begin(attributes(req), "express");
    req.session.cookie.maxAge = 60_000;
    res.json({});
  });
  app.get("/push", (req, res) => {
    push(attributes(req), "express");
    res.json(shown(req.session, req.session.cookie.originalMaxAge));
  });
  app.get("/look", (req, res) => void res.json(shown(req.session, undefined)));
  app.get("/end", async (req, res) => {
    await req.session.destroy();
    res.json({});
  });
  return serve(app, manager);
}

async function startKoa(manager: SessionManager): Promise<string> {
  const app = new Koa();
  app.use(koaSession({ manager }, app));
  app.use(async (ctx) => {
    const session = ctx.session!;
    ctx.body = {};
    if (ctx.path === "/begin") {
      begin(session as unknown as Record<string, unknown>, "koa");
      session.maxAge = 60_000;
    } else if (ctx.path === "/push") {
      push(session as unknown as Record<string, unknown>, "koa");
      ctx.body = shown(session.toJSON(), session.maxAge);
    } else if (ctx.path === "/end") ctx.session = null;
    else ctx.body = shown(session.toJSON(), undefined);
  });
  return serve(app.callback(), manager);
}

async function startFastify(manager: SessionManager): Promise<string> {
  const app = fastify({ forceCloseConnections: true });
  ends.push(() => app.close().then(() => manager.close()));
  await app.register(fastifySession, { manager });
  const attributes = (session: object) => session as Record<string, unknown>;
  app.get("/begin", async ({ session }) => {
    begin(attributes(session), "fastify");
    session.cookie.maxAge = 60_000;
    return {};
  });
  app.get("/push", async ({ session }) => {
    push(attributes(session), "fastify");
    return shown(session, session.cookie.originalMaxAge);
  });
  app.get("/look", async ({ session }) => shown(session, undefined));
  app.get("/end", async ({ session }) => {
    await session.destroy();
    return {};
  });
  return app.listen({ port: 0, host: "127.0.0.1" });
}

async function serve(listener: RequestListener, manager: SessionManager): Promise<string> {
  const server = http.createServer(listener).listen(0, "127.0.0.1");
  ends.push(() => {
    server.closeAllConnections();
    server.close();
    return manager.close();
  });
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
