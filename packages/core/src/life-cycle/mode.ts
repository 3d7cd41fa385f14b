import type { Hint } from "../failover/record-search.js";
import type { Waiting } from "../locking/waiting.js";
import type { SessionIdentity } from "../session/session-id.js";
import type { SessionExchange, SessionRequest } from "./exchange.js";
import type { OpenExchanges } from "./open-exchanges.js";
import type { RequestExchange } from "./request-exchange.js";

/** One of the life cycles. */
export interface Mode {
  /** Its exchanges: whoever opens one counts it here first, and also its end where it could not be opened. */
  readonly exchanges: OpenExchanges;
  /**
   * @returns a promise only where something has to be waited for
   * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where the session cannot be read, MSM_ERR_LOCK_TIMEOUT,
   *   MSM_ERR_LOCK_QUEUE_FULL or MSM_ERR_ABORTED where it could not be had
   */
  open(request: SessionRequest): SessionExchange | Promise<SessionExchange>;
  /** Opens a session outside of any request. @returns undefined where there is none. @throws MsmError as `open` */
  openById(
    identity: SessionIdentity,
    options: { readonly lock: boolean },
  ): Promise<RequestExchange | undefined>;
  /** What is held in this process now. */
  gauges(): {
    readonly localSessions: number;
    readonly unsavedSessions: number;
    readonly waitingRequests: number;
  };
  /** Saves what is still to be saved; resolves when nothing is, or nothing more can be done. */
  drain(): Promise<void>;
  /** Gives back what is locked on the nodes; resolves when it is. */
  release(): Promise<void>;

  // --- another mode follows, see `Modes` ---------------------------------------------------------------------------

  /**
   * Puts on the nodes what is in this process alone.
   * @param looksAtAll whether the nodes may have lost what they had
   * @throws MsmError of the storage where they do not take it
   */
  flush(looksAtAll: boolean): Promise<void>;
  /**
   * Sees to it that the mode which follows finds the newest state of a session on the nodes.
   * @param waiting where that one wants to have the session to itself: waits until nobody of this mode has
   * @throws MsmError of the storage, or as `open`
   */
  handOver(identity: SessionIdentity, hint: Hint, waiting: Waiting | undefined): Promise<void>;
  /** From now on tells the mode that follows which sessions exchanges of this one have saved or ended. */
  endWith(successor: Pick<Mode, "catchUp">): void;
  /** An exchange of the mode before has saved or ended a session: what is held of it here is no more the newest. Never rejects. */
  catchUp(identity: SessionIdentity): Promise<void>;
}
