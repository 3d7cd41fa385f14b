import type { NodeHealth, SessionManagerOptions } from "@msm/core";

/** Options of the session manager as they can be handed to a process. */
export type PlainOptions = Partial<
  Pick<
    SessionManagerOptions,
    | "nodes"
    | "failoverNodes"
    | "idleTimeoutMs"
    | "absoluteTimeoutMs"
    | "leaseTtlMs"
    | "lockTimeoutMs"
    | "operationTimeoutMs"
    | "maxRecordBytes"
    | "closeTimeoutMs"
  > & { readonly backupTimeoutMs: number; readonly maxBackupLagMs: number }
>;

/** What an application process of the fault matrix is told at its start. */
export interface AppConfiguration {
  /** In sticky mode also the route. */
  readonly name: string;
  readonly mode: "sticky" | "non-sticky";
  readonly backup: "sync" | "async";
  readonly locking: "all" | "optimistic";
  readonly options: PlainOptions;
  /** How much its wall clock goes before the machine's, in milliseconds; behind where it is below 0. */
  readonly clockAheadMs: number;
}

/** What an application process tells its driver, once it listens. */
export type AppMessage =
  /** The handler of a request that asked for it has read its session, with this counter, and takes its time now. */
  | { readonly kind: "thinking"; readonly id: string; readonly count: number }
  /** An event of the session manager; `detail` without what cannot be sent. */
  | { readonly kind: "event"; readonly event: string; readonly detail: Readonly<Record<string, unknown>> }
  /** A promise that nobody handled was rejected, or an exception that nobody caught was thrown. */
  | { readonly kind: "unhandled"; readonly error: string };

/** What an application process says of itself: `GET /report`, or `GET /report?collect` behind a garbage collection. */
export interface AppReport {
  readonly residentBytes: number;
  readonly heapBytes: number;
  /** What keeps the process alive, by kind: sockets, timers and the like. */
  readonly resources: Readonly<Record<string, number>>;
  readonly waitingRequests: number;
  /** Handlers that run now, also those whose clients are gone. */
  readonly runningHandlers: number;
  readonly localSessions: number;
  readonly unsavedSessions: number;
  readonly nodes: readonly { readonly id: string; readonly state: NodeHealth["state"] }[];
}
