import { session as msm } from "@msm/express";
import { RedisStore } from "connect-redis";
import expressSession from "express-session";
import { createClient } from "redis";

/** What all of them sign with. */
export const secret = "not a secret, only long enough for its task";

/**
 * What is compared: the middleware each puts in front of the same routes. All are at their defaults, but for the two
 * options that express-session's documentation tells everybody to set.
 * @typedef {object} Peer
 * @property {string} name
 * @property {boolean} needsRedis
 * @property {boolean} [locksInHandlers] whether its handlers call `session.lock()` before they write
 * @property {(nodeUrl: string) => Promise<import("express").RequestHandler | undefined>} middleware undefined: no sessions at all
 */

/** @type {readonly Peer[]} */
export const peers = [
  { name: "express, no session", needsRedis: false, middleware: async () => undefined },
  { name: "express-session, MemoryStore", needsRedis: false, middleware: async () => classic({}) },
  {
    name: "@msm/express sticky, memory",
    needsRedis: false,
    middleware: async () => msm({ secret, mode: "sticky", route: "app1" }),
  },
  { name: "@msm/express non-sticky, memory", needsRedis: false, middleware: async () => msm({ secret }) },
  { name: "express-session, connect-redis", needsRedis: true, middleware: withConnectRedis },
  {
    name: "@msm/express sticky, Redis",
    needsRedis: true,
    middleware: async (url) => msm({ secret, mode: "sticky", route: "app1", nodes: url }),
  },
  {
    name: "@msm/express non-sticky, Redis",
    needsRedis: true,
    middleware: async (url) => msm({ secret, nodes: url }),
  },
];

/** @param {string} url */
async function withConnectRedis(url) {
  const client = createClient({ url });
  await client.connect();
  return classic({ store: new RedisStore({ client }) });
}

/** @param {Partial<import("express-session").SessionOptions>} options */
function classic(options) {
  return expressSession({ secret, resave: false, saveUninitialized: false, ...options });
}
