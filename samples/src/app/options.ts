import { parseArgs } from "node:util";
import type { SessionManagerOptions } from "@msm/core";
import { readLocking } from "../locking.js";

/** How an application process is started. */
export interface AppOptions {
  /** In sticky mode also the route. */
  readonly name: string;
  /** Port on 127.0.0.1. */
  readonly port: number;
  /** Whether handlers are to lock by themselves where they need to. */
  readonly locksInHandlers: boolean;
  /** Not yet checked: that is the session manager's to do. */
  readonly session: SessionManagerOptions;
}

const flags = {
  name: { type: "string", default: "app1" },
  port: { type: "string", default: "8081" },
  mode: { type: "string", default: "non-sticky" },
  nodes: { type: "string" },
  "failover-nodes": { type: "string" },
  locking: { type: "string" },
  backup: { type: "string" },
} as const;

/**
 * Reads the command line; the secret comes from the environment (MSM_SECRET), where `ps` does not show it.
 * @throws Error on a `--locking` that stands for nothing
 */
export function readCommandLine(args: readonly string[], env: NodeJS.ProcessEnv): AppOptions {
  const { values } = parseArgs({ args: [...args], options: flags });
  const common = {
    secret: env.MSM_SECRET,
    nodes: values.nodes,
    failoverNodes: values["failover-nodes"],
    locking: values.locking === undefined ? undefined : readLocking(values.locking),
  };
  const ofMode =
    values.mode === "sticky"
      ? { mode: values.mode, route: values.name, backup: values.backup }
      : { mode: values.mode };
  return {
    name: values.name,
    port: Number(values.port),
    locksInHandlers: values.locking === "app",
    session: withoutUndefined({ ...common, ...ofMode }) as SessionManagerOptions,
  };
}

function withoutUndefined(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
