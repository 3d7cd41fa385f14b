export { controlHeader } from "./cluster/control.js";
export { findProgram } from "./cluster/find-program.js";
export type { JournalEntry, Tone } from "./cluster/journal.js";
export type { Action, MemberState } from "./cluster/member.js";
export type { ClusterOptions } from "./cluster/options.js";
export type { ClusterReport, MemberReport } from "./cluster/report.js";
export { type Cluster, startCluster } from "./cluster/start-cluster.js";
export type { StorageKind } from "./cluster/storage.js";
