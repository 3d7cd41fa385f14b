import type { SessionManager } from "@msm/core";
import session from "@msm/express";
import express, { type Express } from "express";
import { autocounter } from "./autocounter.js";
import { cacheRoutes } from "./cache.js";
import { counter } from "./counter.js";
import { logInRoutes } from "./log-in.js";
import type {} from "./session-data.js";
import { swapSessionId } from "./swap-session-id.js";

/** Who serves, and how. */
export interface ApplicationOptions {
  /** Such as "app1"; in sticky mode also the route. */
  readonly name: string;
  readonly manager: SessionManager;
  /** Whether handlers that need their session to themselves call `session.lock()`: with `locking: "app"`. */
  readonly locksInHandlers: boolean;
}

const endpoints = `GET  /put?k=v…           stores into the session's map "cache"
GET  /list               what is in it
GET  /counter            counts; ?delay=ms waits between reading and writing, ?lock locks before
GET  /autocounter?to=N   counts by itself, and says where a value was lost
GET  /readonly           touches no session
GET  /swapSessionId      a new session id; "cache" is carried over
POST /login?user=NAME    logs in
POST /logout             ends the session
GET  /me                 who is logged in
GET  /health             how this process is, and what it holds
`;

/** The demo application: the original memcached-session-manager's sample servlet, and a log-in. */
export function createApplication({ name, manager, locksInHandlers }: ApplicationOptions): Express {
  const app = express();
  let requests = 0;

  app.disable("x-powered-by");
  app.set("trust proxy", "loopback");

  // Before the session: these are asked all the time, and by nobody in particular.
  app.get("/favicon.ico", (_request, response) => void response.status(204).end());
  app.get("/health", (_request, response) => {
    const { localSessions, unsavedSessions } = manager.stats();
    const nodes = manager.health().nodes.map(({ id, state }) => ({ id, state }));
    response.json({ name, requests, localSessions, unsavedSessions, nodes });
  });
  app.use((_request, response, next) => {
    requests += 1;
    response.setHeader("Cache-Control", "no-store");
    next();
  });

  app.use(session({ manager }));
  app.get("/", (_request, response) => void response.type("text").send(endpoints));
  app.get("/counter", counter(name, { alwaysLocks: locksInHandlers }));
  app.get("/autocounter", autocounter);
  app.get("/readonly", (_request, response) => void response.type("text").send("readonly"));
  app.get("/swapSessionId", swapSessionId);
  app.use(cacheRoutes());
  app.use(logInRoutes());
  return app;
}
