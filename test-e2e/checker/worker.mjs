/**
 * An application process of the checker: an Express server whose handlers read the session, take their time, and write
 * back what follows from what they read. worker-process.ts starts it, with its configuration as the only argument.
 * It runs on the built packages, as an application does.
 *
 * @typedef {import("./conduct.mjs").Attributes} Attributes
 * @typedef {import("./conduct.mjs").Task} Task
 * @typedef {import("../history/operation.js").OperationKind} OperationKind
 * @typedef {import("../history/policies.js").Policy} Policy
 * @typedef {import("./worker-process.js").WorkerConfiguration} WorkerConfiguration
 * @typedef {import("./worker-process.js").WorkerMessage | import("../processes/app-process.js").Listening} WorkerMessage
 */
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { session } from "@msm/express";
import express from "express";
import { addUp, lockedConduct, optimisticConduct } from "./conduct.mjs";

/** @type {WorkerConfiguration} */
const configuration = JSON.parse(process.argv[2] ?? "");

// The driver is gone, and nobody else would end this process.
process.on("disconnect", () => process.exit(0));

const app = express();
for (const policy of configuration.policies) app.use(`/${policy}`, routesOf(policy));
app.use(answerError);
const server = app.listen(0, "127.0.0.1");
server.keepAliveTimeout = 0; // else an idle connection could be closed just as a request goes out on it
await once(server, "listening");
tell({ kind: "listening", port: /** @type {import("node:net").AddressInfo} */ (server.address()).port });

/** @param {Policy} policy */
function routesOf(policy) {
  const sessions = session(optionsOf(policy));
  sessions.manager.on("conflict", ({ attribute }) => tell({ kind: "conflict", policy, attribute }));
  const { serve, state } = policy === "all" ? lockedConduct : optimisticConduct;

  return express
    .Router()
    .use(sessions)
    .get("/state", (request, response) => {
      const attributes = attributesOf(request);
      response.json({ tag: attributes.tag, ...state(attributes) });
    })
    .post("/begin", (request, response) => {
      attributesOf(request).tag = String(request.query.session);
      response.json({});
    })
    .post("/:kind", async (request, response) => {
      response.json(await serve(attributesOf(request), taskOf(request)));
    });
}

/**
 * @param {Policy} policy
 * @returns {import("@msm/express").SessionOptions}
 */
function optionsOf(policy) {
  const { mode, name, nodes, lock } = configuration;
  return {
    ...(mode === "sticky" ? { mode, route: name, backupTimeoutMs: 5000 } : { mode }),
    nodes,
    secret: "the checker's secret, of more than 32 bytes",
    keyPrefix: policy,
    operationTimeoutMs: 2000, // twice as many processes as there are workers, on few cores
    ...(policy === "all" ? lock : { onConflict: policy === "sum" ? addUp : policy }),
  };
}

/**
 * @param {express.Request} request
 * @returns {Task}
 */
function taskOf({ params, query }) {
  const id = String(query.id);
  return {
    kind: /** @type {OperationKind} */ (params.kind),
    id,
    async think(count) {
      if (query.tells !== undefined) tell({ kind: "thinking", id, count });
      await pause(Number(query.thinkMs));
    },
  };
}

/**
 * @param {express.Request} request
 * @returns {Attributes}
 */
function attributesOf(request) {
  return /** @type {Attributes} */ (/** @type {unknown} */ (request.session));
}

/** @type {express.ErrorRequestHandler} */
function answerError(error, _request, response, next) {
  if (response.headersSent) return next(error);
  response.status(error.status ?? 500).json({ code: error.code ?? String(error) });
}

/** @param {WorkerMessage} message */
function tell(message) {
  process.send?.(message);
}
