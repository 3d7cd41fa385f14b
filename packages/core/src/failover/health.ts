import type { MsmErrorCode } from "../errors.js";

/** What is thought of the nodes, and of what they can be used for. */
export interface ManagerHealth {
  /**
   * - "ok": all is as configured
   * - "degraded": sessions are served, but a node is missing, or none is used (`enabled: false`)
   * - "down": sessions cannot be served, or the manager is being closed
   */
  readonly status: "ok" | "degraded" | "down";
  /** In ring order, those that are leaving last. */
  readonly nodes: readonly NodeHealth[];
}

/** What is thought of a node. */
export interface NodeHealth {
  readonly id: string;
  /** What it is, e.g. "redis". */
  readonly kind: string;
  /** "failover": it takes sessions only while no ordinary node can be reached. */
  readonly role: "ordinary" | "failover";
  /**
   * - "up"
   * - "suspect": it answers again, but what it holds may be older than its copies
   * - "down"
   * - "leaving": `reconfigure()` has taken it out; sessions that only it has can still be read
   * - "off": nothing is stored at present (`enabled: false`)
   */
  readonly state: "up" | "suspect" | "down" | "leaving" | "off";
  /** For how long it has been in this state, in milliseconds. */
  readonly forMs: number;
  /** Code of the last trouble with it; undefined where there was none. */
  readonly lastError: MsmErrorCode | undefined;
  /** Records that it did not take, kept in this process until it does. */
  readonly missedRecords: number;
}

/** What a node knows of itself. */
export type NodeCondition = Omit<NodeHealth, "missedRecords">;
