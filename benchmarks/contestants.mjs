/** Who is compared with whom. */

/**
 * Where the sessions of a server are, as `servers/main.mjs` gets it.
 * @typedef {{ readonly kind: "bare" }
 *   | { readonly kind: "msm", readonly mode: "sticky" | "non-sticky", readonly locking: string }
 *   | { readonly kind: "peer", readonly store: "memory" | "redis" }} Sessions
 *
 * One of those who are compared.
 * @typedef {object} Contestant
 * @property {string} name
 * @property {Framework} framework
 * @property {Sessions} sessions
 * @property {"redis-server" | "memcached"} [storage] program of its nodes, of which it has its own; undefined: it has none
 *
 * @typedef {"express" | "koa" | "fastify"} Framework
 */

/** @type {readonly Framework[]} */
export const frameworks = ["express", "koa", "fastify"];

/** What others call each storage. */
export const storageNames = { "redis-server": "Redis", memcached: "memcached" };

/** Who everybody is compared with, and what teams use today. */
const peers = {
  express: [
    { name: "express-session, MemoryStore", sessions: { kind: "peer", store: "memory" } },
    {
      name: "express-session, connect-redis",
      sessions: { kind: "peer", store: "redis" },
      storage: "redis-server",
    },
  ],
  koa: [
    { name: "koa-session, ioredis", sessions: { kind: "peer", store: "redis" }, storage: "redis-server" },
  ],
  fastify: [
    {
      name: "@fastify/session, connect-redis",
      sessions: { kind: "peer", store: "redis" },
      storage: "redis-server",
    },
  ],
};

const ways = [
  { mode: "sticky", locking: "optimistic" },
  { mode: "non-sticky", locking: "optimistic" },
  { mode: "non-sticky", locking: "all" },
];

/**
 * Those of one framework: without sessions, the peers, and msm in each way on each storage.
 * @param {Framework} framework
 * @returns {Contestant[]}
 */
export function contestantsOf(framework) {
  const own = Object.keys(storageNames).flatMap((storage) =>
    ways.map((way) => ({ name: nameOf(way, storage), sessions: { kind: "msm", ...way }, storage })),
  );
  return [{ name: "no sessions", sessions: { kind: "bare" } }, ...peers[framework], ...own].map((each) => ({
    framework,
    ...each,
  }));
}

/** @param {Contestant} contestant */
export const isBare = ({ sessions }) => sessions.kind === "bare";

/** The one that ratios are against. @param {Contestant} contestant */
export const isPeerOnRedis = ({ sessions }) => sessions.kind === "peer" && sessions.store === "redis";

function nameOf({ mode, locking }, storage) {
  const way = mode === "sticky" ? "msm sticky" : `msm non-sticky ${locking}`;
  return `${way}, ${storageNames[storage]}`;
}
