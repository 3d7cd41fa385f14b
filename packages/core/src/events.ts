import type { MsmError } from "./errors.js";

/**
 * What happens to sessions and nodes. `session` is a short hash of the session id, the same in all processes; ids and
 * values never appear.
 */
export interface SessionEvents {
  /** A session was stored for the first time. */
  created: { session: string; node: string };
  /** Sticky: this process became the owner of a session that another had, or nobody. */
  takenOver: { session: string; from: string | undefined; to: string };
  /** The session's node could not be reached, it goes on with another. */
  relocated: { session: string; from: string; to: string };
  /** A save met a newer version, and was merged with it. */
  merged: { session: string; attributes: readonly string[] };
  /** Two requests changed the same attribute; `kept` says whose value stands. */
  conflict: { session: string; attribute: string; kept: "mine" | "resolved" | "theirs" };
  /** A request has waited for its session for `lockTimeoutMs`, and was refused, or went on without a lock. */
  lockTimedOut: { session: string; outcome: "refused" | "optimistic" };
  /** A request lost its lock before its end, after `heldMs`: the version check alone guards what it saves. */
  leaseLost: { session: string; heldMs: number };
  /** A node had lost a record, or had an older one; it has the newest now. */
  repaired: { session: string; node: string };
  /** A stored record failed its check and was not used. */
  spoilt: { session: string; node: string; error: MsmError };
  destroyed: { session: string };
  regenerated: { session: string; from: string };
  /** A commit did not do what it should. */
  commitFailed: { session: string; error: MsmError };
  /** Sticky: changes are kept in memory, as no node can be reached. */
  kept: { session: string };
  nodeDown: { node: string; error: MsmError };
  nodeUp: { node: string; downMs: number };
  /** The connection to a node was lost and is back before the node counted as down; it may have restarted. */
  nodeReconnected: { node: string };
  /**
   * A node that `reconfigure()` took out is not asked any more: nothing that was stored there can be alive ("expired"), or it
   * has not answered for a minute ("silent").
   */
  nodeLeft: { node: string; reason: "expired" | "silent" };
  /** `reconfigure()` was carried out: which options it was given, and which nodes are new and which were taken out. */
  reconfigured: { options: readonly string[]; joined: readonly string[]; left: readonly string[] };
  /** Something the operator should know, e.g. a Redis that evicts. */
  warning: { message: string };
}

/** Ends a subscription. */
export type Unsubscribe = () => void;

/** Emits typed events. Costs nothing where nobody listens. */
export interface EventEmitter {
  emit<E extends keyof SessionEvents>(event: E, detail: SessionEvents[E]): void;
  on<E extends keyof SessionEvents>(event: E, listener: (detail: SessionEvents[E]) => void): Unsubscribe;
}

type Listener = (detail: never) => void;

/** Makes an emitter. A listener that throws harms neither the session nor the other listeners. */
export function createEvents(): EventEmitter {
  const listeners = new Map<keyof SessionEvents, Set<Listener>>();
  return {
    emit(event, detail) {
      for (const listener of listeners.get(event) ?? []) {
        try {
          listener(detail as never);
        } catch {
          // A listener only watches. Its trouble must not become the trouble of the request that it watches.
        }
      }
    },
    on(event, listener) {
      const own = listeners.get(event) ?? new Set();
      listeners.set(event, own.add(listener as Listener));
      return () => void own.delete(listener as Listener);
    },
  };
}
