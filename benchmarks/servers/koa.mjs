import { once } from "node:events";
import { session as msm } from "@msm/koa";
import { Redis } from "ioredis";
import Koa from "koa";
import koaSession from "koa-session";
import { bareHandlers, handlers, slowHandlers } from "./handlers.mjs";
import { msmOptions, secret } from "./settings.mjs";

/** @returns {Promise<import("node:http").Server>} that listens */
export async function listen(sessions, nodes) {
  const app = new Koa();
  app.keys = [secret];
  // Who measures counts the failures; Koa would write a stack trace for each.
  app.silent = true;
  app.use(answerErrors);
  if (sessions.kind === "msm") app.use(msm(msmOptions(sessions, nodes), app));
  if (sessions.kind === "peer") app.use(koaSession({ store: ioredisStore(nodes) }, app));
  app.use(routesOf(sessions.kind === "bare" ? bareHandlers : handlers));

  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

function routesOf(table) {
  const byRoute = new Map(Object.entries(table));
  const slowByRoute = new Map(Object.entries(slowHandlers));
  return (ctx) => {
    const route = `${ctx.method} ${ctx.path}`;
    const handler = byRoute.get(route);
    if (handler) return answer(ctx, handler(ctx.session));
    return slowByRoute
      .get(route)(ctx.session)
      .then((body) => answer(ctx, body));
  };
}

function answer(ctx, body) {
  ctx.set("Content-Type", "text/plain");
  ctx.length = Buffer.byteLength(body);
  ctx.body = body;
}

/** An error's answer of Koa's own has no session's cookie, and no length that a HEAD would need. */
async function answerErrors(ctx, next) {
  try {
    await next();
  } catch (error) {
    ctx.status = error.status ?? 500;
    answer(ctx, error.message);
  }
}

/** What koa-session's documentation asks of a store, with one command each. */
function ioredisStore(url) {
  const redis = new Redis(url);
  return {
    async get(key) {
      const json = await redis.get(key);
      return json === null ? undefined : JSON.parse(json);
    },
    async set(key, session, maxAge) {
      await redis.set(key, JSON.stringify(session), "PX", maxAge);
    },
    async destroy(key) {
      await redis.del(key);
    },
  };
}
