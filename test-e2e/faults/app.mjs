/**
 * An application process of the fault matrix: an Express server on the built packages, with msm's defaults but for what
 * its configuration names. bench.ts starts it, with its configuration as the only argument. It prints what an application
 * would log: the session manager's events, and the errors of requests.
 *
 * @typedef {import("./app-configuration.js").AppConfiguration} AppConfiguration
 * @typedef {import("./app-configuration.js").AppMessage} AppMessage
 * @typedef {import("./app-configuration.js").AppReport} AppReport
 * @typedef {import("../processes/app-process.js").Listening} Listening
 * @typedef {import("../history/operation.js").Reply} Reply
 * @typedef {import("../history/operation.js").OperationKind} OperationKind
 * @typedef {{ tag?: string, canary?: string, list?: string[], count?: number, filler?: string }} Attributes
 */
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { inspect } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { session } from "@msm/express";
import express from "express";
import { listDigest } from "../history/list-digest.mjs";

/** @type {AppConfiguration} */
const configuration = JSON.parse(process.argv[2] ?? "");
let clockAheadMs = configuration.clockAheadMs;
/** Handlers that run now, also those whose clients are gone. */
let runningHandlers = 0;

/** @type {readonly (keyof import("@msm/core").SessionEvents)[]} */
const loggedEvents = [
  ...["takenOver", "relocated", "merged", "conflict", "lockTimedOut", "leaseLost", "repaired", "spoilt"],
  ...["commitFailed", "kept", "nodeDown", "nodeUp", "nodeReconnected", "warning"],
].map((event) => /** @type {keyof import("@msm/core").SessionEvents} */ (event));

// The driver is gone, and nobody else would end this process.
process.on("disconnect", () => process.exit(0));
for (const event of ["unhandledRejection", "uncaughtException"]) {
  process.on(event, (error) => {
    console.error(`${event}: ${inspect(error)}`);
    tell({ kind: "unhandled", error: `${event}: ${inspect(error)}` });
  });
}

const sessions = session({ ...optionsOf(configuration), clock: createClock() });
for (const event of loggedEvents) {
  sessions.manager.on(event, (detail) => {
    console.log(`${event} ${inspect(detail, { breakLength: Number.POSITIVE_INFINITY })}`);
    tell({ kind: "event", event, detail: plain(detail) });
  });
}

/** Whoever is told to stop sending has sent something that is yet to be read: to a server, its connection is idle. */
const longestUnreadMs = 300;

const app = express();
app.get("/plain", (_request, response) => void response.json({}));
app.get("/report", (request, response) => {
  if (request.query.collect !== undefined) collectGarbage();
  response.json(report());
});
app.post("/clock", (request, response) => {
  clockAheadMs = Number(request.query.aheadMs);
  response.json({});
});
app.use(sessions);
app.post("/begin", (request, response) => {
  const { session: tag, fillBytes = "0" } = request.query;
  const attributes = attributesOf(request);
  attributes.tag = String(tag);
  attributes.canary = `canary-${tag}`;
  if (fillBytes !== "0") attributes.filler = "x".repeat(Number(fillBytes));
  response.json({ tag: attributes.tag });
});
app.post("/fill", (request, response) => {
  attributesOf(request).filler = "x".repeat(Number(request.query.bytes));
  response.json({});
});
app.post("/login", async (request, response) => {
  const { tag } = attributesOf(request);
  await request.session.regenerate({ keep: "all" });
  response.json({ tag });
});
app.post("/renew", async (request, response) => {
  const { tag } = attributesOf(request);
  await request.session.regenerate({ keep: "all", grace: true });
  response.json({ tag });
});
app.post("/logout", async (request, response) => {
  const { tag } = attributesOf(request);
  await request.session.destroy();
  response.json({ tag });
});
app.get("/state", (request, response) => {
  const { tag, list = [], count = 0 } = attributesOf(request);
  response.json({ tag, found: list, count });
});
for (const kind of /** @type {const} */ (["append", "count"])) {
  app.post(`/${kind}`, async (request, response) => {
    response.json(await serve(request, kind));
  });
}
app.get("/read", async (request, response) => {
  response.json(await serve(request, "read"));
});
app.use(answerError);

const server = app.listen(0, "127.0.0.1");
server.keepAliveTimeout = 0; // else an idle connection could be closed just as a request goes out on it
await once(server, "listening");
tell({ kind: "listening", port: /** @type {import("node:net").AddressInfo} */ (server.address()).port });

process.once("SIGTERM", async () => {
  await pause(longestUnreadMs);
  const closed = once(server, "close");
  server.close();
  // A connection whose request was under way is idle a moment later, and kept.
  const closing = setInterval(() => server.closeIdleConnections(), 20);
  await closed;
  clearInterval(closing);
  await sessions.manager.close();
  process.exit(0);
});

/**
 * @param {AppConfiguration} configuration
 * @returns {import("@msm/express").SessionOptions}
 */
function optionsOf({ name, mode, backup, locking, options }) {
  return /** @type {import("@msm/express").SessionOptions} */ ({
    ...(mode === "sticky" ? { mode, route: name, backup } : { mode }),
    secret: "the fault matrix's secret, of more than 32 bytes",
    locking,
    onConflict: "fail",
    ...options,
  });
}

/** The machine's clock, set wrong where the configuration says so. */
function createClock() {
  return {
    now: () => Date.now() + clockAheadMs,
    monotonicMs: () => performance.now(),
    /**
     * @param {number} delayMs
     * @param {() => void} run
     */
    after(delayMs, run) {
      const timer = setTimeout(run, delayMs);
      timer.unref();
      return () => clearTimeout(timer);
    },
  };
}

/**
 * @param {express.Request} request
 * @param {OperationKind} kind
 */
async function serve(request, kind) {
  runningHandlers += 1;
  try {
    return await (configuration.locking === "all" ? serveLocked : serveShared)(request, kind);
  } finally {
    runningHandlers -= 1;
  }
}

/**
 * Reads before a pause and writes behind it: only a lock keeps that right.
 *
 * @param {express.Request} request
 * @param {OperationKind} kind
 */
async function serveLocked(request, kind) {
  const attributes = attributesOf(request);
  const before = readingOf(attributes);
  await think(request, before.count);
  return write(attributes, before, kind, request);
}

/**
 * Reads and writes in one go, as the requests of a process share the session.
 *
 * @param {express.Request} request
 * @param {OperationKind} kind
 */
async function serveShared(request, kind) {
  const attributes = attributesOf(request);
  await think(request, attributes.count ?? 0);
  return write(attributes, readingOf(attributes), kind, request);
}

/** @param {Attributes} attributes */
function readingOf({ tag, list = [], count = 0 }) {
  return { tag, list: [...list], count };
}

/**
 * @param {Attributes} attributes
 * @param {ReturnType<typeof readingOf>} before
 * @param {OperationKind} kind
 * @param {express.Request} request
 * @returns {Reply}
 */
function write(attributes, { tag, list, count }, kind, { query }) {
  if (kind === "append") attributes.list = [...list, String(query.id)];
  if (kind !== "read") attributes.count = count + 1;
  return {
    ...{ tag, length: list.length, digest: listDigest(list) },
    count: kind === "read" ? count : count + 1,
  };
}

/**
 * What passes in a handler: time, or time in which the whole process stands still.
 *
 * @param {express.Request} request
 * @param {number} count
 */
async function think({ query }, count) {
  if (query.tells !== undefined) tell({ kind: "thinking", id: String(query.id), count });
  if (query.thinkMs !== undefined) await pause(Number(query.thinkMs));
  if (query.blockMs !== undefined) {
    await pause(10); // what was told goes out before
    const endMs = performance.now() + Number(query.blockMs);
    while (performance.now() < endMs);
  }
}

/**
 * @param {express.Request} request
 * @returns {Attributes}
 */
function attributesOf(request) {
  return /** @type {Attributes} */ (/** @type {unknown} */ (request.session));
}

function collectGarbage() {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
}

/** @returns {AppReport} */
function report() {
  const { waitingRequests, localSessions, unsavedSessions } = sessions.manager.stats();
  /** @type {Record<string, number>} */
  const resources = {};
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  const { rss, heapUsed } = process.memoryUsage();
  return {
    ...{ residentBytes: rss, heapBytes: heapUsed, resources },
    ...{ waitingRequests, localSessions, unsavedSessions, runningHandlers },
    nodes: sessions.manager.health().nodes.map(({ id, state }) => ({ id, state })),
  };
}

/** @type {express.ErrorRequestHandler} */
function answerError(error, request, response, next) {
  console.error(`${request.method} ${request.path}: ${inspect(error)}`);
  if (response.headersSent) return next(error);
  response.status(error.status ?? 500).json({ code: error.code ?? String(error) });
}

/**
 * What of an event can be sent.
 *
 * @param {object} detail
 * @returns {Record<string, unknown>}
 */
function plain(detail) {
  return Object.fromEntries(
    Object.entries(detail).map(([name, value]) => [
      name,
      value instanceof Error
        ? { code: /** @type {{ code?: string }} */ (value).code, message: value.message }
        : value,
    ]),
  );
}

/** @param {AppMessage | Listening} message */
function tell(message) {
  process.send?.(message);
}
