import { once } from "node:events";
import { session as msm } from "@msm/express";
import { RedisStore } from "connect-redis";
import express from "express";
import expressSession from "express-session";
import { bareHandlers, handlers, slowHandlers } from "./handlers.mjs";
import { msmOptions, nodeRedis, secret } from "./settings.mjs";

/** @returns {Promise<import("node:http").Server>} that listens */
export async function listen(sessions, nodes) {
  const app = express();
  app.disable("etag");
  app.disable("x-powered-by");
  if (sessions.kind !== "bare") app.use(await middlewareFor(sessions, nodes));
  addRoutes(app, sessions.kind === "bare" ? bareHandlers : handlers);
  // Who measures counts the failures; Express would write a stack trace for each.
  app.use((error, _request, response, _next) => answer(response.status(error.status ?? 500), error.message));

  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

async function middlewareFor(sessions, nodes) {
  if (sessions.kind === "msm") return msm(msmOptions(sessions, nodes));
  // The two options that its documentation tells everybody to set.
  const options = { secret, resave: false, saveUninitialized: false };
  if (sessions.store === "memory") return expressSession(options);
  return expressSession({ ...options, store: new RedisStore({ client: await nodeRedis(nodes) }) });
}

function addRoutes(app, table) {
  for (const [route, handler] of Object.entries(table)) {
    add(app, route, (request, response) => answer(response, handler(request.session)));
  }
  for (const [route, handler] of Object.entries(slowHandlers)) {
    add(app, route, async (request, response) => answer(response, await handler(request.session)));
  }
}

function add(app, route, handler) {
  const [method, path] = route.split(" ");
  app[method.toLowerCase()](path, handler);
}

function answer(response, body) {
  response.setHeader("Content-Type", "text/plain");
  response.setHeader("Content-Length", Buffer.byteLength(body));
  response.end(body);
}
