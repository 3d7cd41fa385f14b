import type { MsmError } from "../errors.js";
import type { MemcachedReply, MemcachedRequest } from "./memcached-requests.js";

/**
 * Names one TCP connection, by identity. A CAS id is worth something only on the connection it was read on: a memcached
 * that restarted counts its CAS ids from 1 again.
 */
export type ConnectionMark = object;

/** The answers to one `ask()`, in the order of the requests, and the connection they came on. */
export interface Answers {
  readonly replies: readonly MemcachedReply[];
  readonly connection: ConnectionMark;
}

/**
 * One connection to memcached, opened when it is first needed, and again after it was dropped.
 *
 * Deadlines are the caller's: it drops the connection when one passes.
 */
export interface MemcachedConnection {
  /**
   * Sends requests in one go, so that they cost one round trip and are carried out in their order.
   *
   * @param on sends only on this connection
   * @returns undefined where `on` is not the connection any more; nothing was sent then
   * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE, MSM_ERR_STORAGE_PROTOCOL, or that of `drop()`
   */
  ask(requests: readonly MemcachedRequest[], on?: ConnectionMark): Promise<Answers | undefined>;
  /** Ends the connection with all its state; what is outstanding rejects with `error`. */
  drop(error: MsmError): void;
  /** Like `drop()`; resolves when the socket is closed. */
  end(error: MsmError): Promise<void>;
}
