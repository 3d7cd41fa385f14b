import fastifyCookie from "@fastify/cookie";
import fastifySession from "@fastify/session";
import msm from "@msm/fastify";
import { RedisStore } from "connect-redis";
import fastify from "fastify";
import { bareHandlers, handlers, slowHandlers } from "./handlers.mjs";
import { msmOptions, nodeRedis, secret } from "./settings.mjs";

/** @returns {Promise<import("node:http").Server>} that listens */
export async function listen(sessions, nodes) {
  const app = fastify();
  if (sessions.kind === "msm") app.register(msm, msmOptions(sessions, nodes));
  if (sessions.kind === "peer") {
    app.register(fastifyCookie);
    app.register(fastifySession, {
      secret,
      saveUninitialized: false,
      cookie: { secure: false },
      store: new RedisStore({ client: await nodeRedis(nodes) }),
    });
  }
  // Routes get the session's hooks where they are declared behind them.
  app.register((routes, _options, done) => {
    addRoutes(routes, sessions.kind === "bare" ? bareHandlers : handlers);
    done();
  });
  await app.listen({ port: 0, host: "127.0.0.1" });
  return app.server;
}

function addRoutes(app, table) {
  for (const [route, handler] of Object.entries(table)) {
    add(app, route, (request, reply) => answer(reply, handler(request.session)));
  }
  for (const [route, handler] of Object.entries(slowHandlers)) {
    add(app, route, async (request, reply) => answer(reply, await handler(request.session)));
  }
}

function add(app, route, handler) {
  const [method, url] = route.split(" ");
  app.route({ method, url, handler });
}

function answer(reply, body) {
  return reply
    .header("Content-Type", "text/plain")
    .header("Content-Length", Buffer.byteLength(body))
    .send(body);
}
