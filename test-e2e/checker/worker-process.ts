import { fileURLToPath } from "node:url";
import type { Mode, Policy } from "../history/policies.js";
import { AppProcess } from "../processes/app-process.js";

/** How requests under the policy "all" are locked; none of it for the proof that the checker misses the lock. */
export interface LockOptions {
  readonly locking: "all";
  readonly leaseTtlMs: number;
  readonly lockTimeoutMs: number;
}

/** What a worker is told at its start. */
export interface WorkerConfiguration {
  /** In sticky mode also the route. */
  readonly name: string;
  readonly mode: Mode;
  /** The option `nodes`. */
  readonly nodes: string;
  /** Each has its routes, its sessions and its manager. */
  readonly policies: readonly Policy[];
  readonly lock: LockOptions | undefined;
}

/** What a worker tells its driver, once it listens. */
export type WorkerMessage =
  /** The handler of a request that asked for it has read its session, with this counter, and takes its time now. */
  | { readonly kind: "thinking"; readonly id: string; readonly count: number }
  | { readonly kind: "conflict"; readonly policy: Policy; readonly attribute: string };

/** One of the checker's application processes. */
export type WorkerProcess = AppProcess<WorkerMessage>;

const program = fileURLToPath(new URL("worker.mjs", import.meta.url));

/** Prepares a worker, which is not started yet. */
export const workerProcess = (
  configuration: WorkerConfiguration,
  onMessage: (message: WorkerMessage) => void,
): WorkerProcess => new AppProcess({ name: configuration.name, program, configuration, onMessage });
