import type { JournalEntry } from "./journal.js";
import type { MemberState } from "./member.js";
import type { ClusterOptions } from "./options.js";
import type { StorageKind } from "./storage.js";

/** `GET /cluster.json`. */
export interface ClusterReport {
  readonly mode: ClusterOptions["mode"];
  readonly storage: { readonly kind: StorageKind; readonly why: string };
  readonly locking: string;
  /** Sticky only. */
  readonly backup?: "sync" | "async";
  /** The application processes and the balancer. */
  readonly processes: readonly MemberReport[];
  /** The storage nodes, in ring order. */
  readonly nodes: readonly MemberReport[];
  /** What happened last, the oldest first. */
  readonly journal: readonly JournalEntry[];
}

/** One process of the cluster. */
export interface MemberReport {
  /** Such as "app1", "n1", "balancer". */
  readonly name: string;
  readonly kind: "app" | "node" | "balancer";
  /** Null while it does not run. */
  readonly pid: number | null;
  /** Host and port. */
  readonly address: string;
  readonly state: MemberState;
  /** What it does, in numbers: for an app what its `/health` says, for a node `{records}`. Null while it does not answer. */
  readonly doing: unknown;
}
