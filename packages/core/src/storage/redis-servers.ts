import type { Redis } from "ioredis";
import type { MsmError } from "../errors.js";
import type { RedisCommand } from "./redis-command.js";

/** A Redis deployment: to whom commands go, and who tells of releases. */
export interface RedisServers {
  /** So that the first request finds a connection there. Whether that fails shows when it is used. */
  connect(): void;
  /**
   * Sends one command where its key is.
   * @param read gives the meaning of the reply; where it throws MSM_ERR_STORAGE_PROTOCOL, the connection ends
   * @throws MsmError MSM_ERR_STORAGE_*, at the latest after the deadline
   */
  perform<T>(verb: string, command: RedisCommand, read: (reply: unknown) => T): Promise<T>;
  /** See `Storage.ping()`. */
  ping(): Promise<unknown>;
  /** See `Storage.run`. */
  readonly run: unknown;
  /** See `Storage.onRelease()`. */
  listen(leaseKey: string, listener: () => void): () => void;
  /** Ends all connections; what is outstanding, and what comes later, rejects with `error`. Safe to call twice. */
  close(error: MsmError): Promise<void>;
}

/** What a deployment needs from outside. */
export interface RedisServersParts {
  /** Deadline of each operation, in milliseconds. */
  readonly timeoutMs: number;
  /** Called with each new connection that operations go through. */
  readonly onOpen: (redis: Redis) => void;
  /** Gets what the operator should know. */
  readonly onWarning: (message: string) => void;
}
