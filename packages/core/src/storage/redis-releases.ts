import type { MsmError } from "../errors.js";
import { type RedisAddress, RedisConnection } from "./redis-connection.js";
import { releaseChannel } from "./redis-scripts.js";
import { ReleaseListeners } from "./release-listeners.js";

/**
 * Hears which leases are given back while somebody waits for them, on a connection of its own: one that subscribes takes
 * no other commands. It is opened for the first who listens, and again for the next one after it was lost. Whoever listens
 * asks now and then anyway, so nothing is said where Redis cannot be reached, or does not let its user subscribe.
 */
export class RedisReleases {
  readonly #connection: RedisConnection;
  readonly #listeners = new ReleaseListeners();
  #isClosed = false;

  /** @param address asked for each connection anew */
  constructor(address: () => RedisAddress) {
    this.#connection = new RedisConnection(address, {
      onOpen: (redis) => {
        redis.on("message", (_channel: string, leaseKey: string) => this.#listeners.tell(leaseKey));
        redis.subscribe(releaseChannel).catch(() => undefined);
      },
    });
  }

  /** @returns what ends it; safe to call twice */
  listen(leaseKey: string, listener: () => void): () => void {
    if (this.#isClosed) return () => {};
    const end = this.#listeners.add(leaseKey, listener);
    this.#open();
    return end;
  }

  /**
   * Gives up the connection, and opens another one where somebody listens. For when another connection to the same
   * server was lost: this one may be as dead, and would not notice, as it only listens.
   */
  renew(error: MsmError): void {
    this.#connection.drop(error);
    if (!this.#listeners.isEmpty) this.#open();
  }

  /** Ends it for good; resolves when the socket is closed. */
  end(error: MsmError): Promise<void> {
    this.#isClosed = true;
    this.#listeners.clear();
    return this.#connection.end(error);
  }

  #open(): void {
    this.#connection.use(async () => undefined).catch(() => undefined);
  }
}
