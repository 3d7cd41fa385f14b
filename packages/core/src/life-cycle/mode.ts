import type { SessionExchange, SessionRequest } from "./exchange.js";

/** One of the two life cycles. */
export interface Mode {
  /** @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where the session cannot be read */
  open(request: SessionRequest): Promise<SessionExchange>;
  /** What is held in this process now. */
  gauges(): { readonly localSessions: number; readonly unsavedSessions: number };
  /** Saves what is still to be saved; resolves when nothing is, or nothing more can be done. */
  drain(): Promise<void>;
}
