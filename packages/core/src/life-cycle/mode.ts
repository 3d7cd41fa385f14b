import type { SessionIdentity } from "../session/session-id.js";
import type { SessionExchange, SessionRequest } from "./exchange.js";
import type { RequestExchange } from "./request-exchange.js";

/** One of the two life cycles. */
export interface Mode {
  /**
   * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where the session cannot be read, MSM_ERR_LOCK_TIMEOUT,
   *   MSM_ERR_LOCK_QUEUE_FULL or MSM_ERR_ABORTED where it could not be had
   */
  open(request: SessionRequest): Promise<SessionExchange>;
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
}
