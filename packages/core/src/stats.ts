import type { EventEmitter, SessionEvents } from "./events.js";

/** Counts since the manager started, and what it holds now. */
export interface SessionStats {
  /** How often each event was emitted. */
  readonly events: Readonly<Record<keyof SessionEvents, number>>;
  /** Sessions held in this process (sticky). */
  readonly localSessions: number;
  /** Sessions whose newest state no node has yet. */
  readonly unsavedSessions: number;
}
