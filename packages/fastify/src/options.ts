import { MsmError } from "@msm/core";
import { NodeSessions } from "./nodes/node-sessions.js";
import type { ManagerOptions, NodesOptions } from "./nodes/node-settings.js";
import type { Sessions } from "./sessions.js";
import { StoreSessions } from "./store/store-sessions.js";
import type { StoreOptions } from "./store/store-settings.js";

/** What the plugin takes: sessions on msm's nodes, by a manager that is shared, or in a store of @fastify/session's kind. */
export type FastifySessionOptions = NodesOptions | ManagerOptions | StoreOptions;

/** Chooses how sessions are kept. @throws MsmError MSM_ERR_OPTION on an option that makes no sense */
export function sessionsFor(options: FastifySessionOptions): Sessions {
  const ways = (["store", "nodes", "manager"] as const).filter(
    (name) => Reflect.get(options, name) !== undefined,
  );
  if (ways.length > 1) {
    throw new MsmError("MSM_ERR_OPTION", `sessions are kept in one way: give one of ${ways.join(", ")}`);
  }
  if (options.store !== undefined) return new StoreSessions(options);
  return options.manager === undefined ? NodeSessions.on(options) : NodeSessions.of(options);
}
