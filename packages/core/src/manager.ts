import type { SessionEvents, Unsubscribe } from "./events.js";
import type { NodeHealth } from "./failover/health.js";
import type { SessionExchange, SessionRequest } from "./life-cycle/exchange.js";
import type { SessionManagerOptions } from "./options.js";
import type { SessionStats } from "./stats.js";

/** Keeps the sessions of one application process. */
export interface SessionManager {
  /**
   * Finds, takes over, relocates or creates the session of a request.
   * Rejects with MSM_ERR_STORAGE_UNAVAILABLE where the session cannot be read (see `onStorageError`).
   */
  open(request: SessionRequest): Promise<SessionExchange>;
  /** Calls `listener` on each event; what it throws is ignored. @returns what ends the subscription */
  on<E extends keyof SessionEvents>(event: E, listener: (detail: SessionEvents[E]) => void): Unsubscribe;
  /** Counts since the start, and what is held now. */
  stats(): SessionStats;
  /** What is thought of each node now, in ring order. */
  health(): readonly NodeHealth[];
  /** Saves what is still to be saved, at most `closeTimeoutMs`, then ends all connections. Safe to call twice. */
  close(): Promise<void>;
}

/** Checks the options and starts a manager. Throws MSM_ERR_OPTION on an option that makes no sense. */
export declare function createSessionManager(options: SessionManagerOptions): SessionManager;
