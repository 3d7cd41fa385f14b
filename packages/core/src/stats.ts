import type { EventEmitter, SessionEvents } from "./events.js";

/** Counts since the manager started, and what it holds now. */
export interface SessionStats {
  /** How often each event was emitted. */
  readonly events: Readonly<Record<keyof SessionEvents, number>>;
  /** Sessions held in this process (sticky). */
  readonly localSessions: number;
  /** Sessions whose newest state no node has yet. */
  readonly unsavedSessions: number;
  /** Requests that wait for their session, as another one has it. */
  readonly waitingRequests: number;
}

/** Counts every event from now on. @returns the counts, which go on counting */
export function countEvents(events: EventEmitter): Readonly<Record<keyof SessionEvents, number>> {
  const counts: Record<keyof SessionEvents, number> = {
    created: 0,
    takenOver: 0,
    relocated: 0,
    merged: 0,
    conflict: 0,
    lockTimedOut: 0,
    leaseLost: 0,
    repaired: 0,
    spoilt: 0,
    destroyed: 0,
    regenerated: 0,
    commitFailed: 0,
    kept: 0,
    nodeDown: 0,
    nodeUp: 0,
    nodeReconnected: 0,
    nodeLeft: 0,
    reconfigured: 0,
    warning: 0,
  };
  for (const event of Object.keys(counts) as (keyof SessionEvents)[]) {
    events.on(event, () => {
      counts[event]++;
    });
  }
  return counts;
}
