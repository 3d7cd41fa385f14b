import type { Redis, RedisOptions } from "ioredis";
import type { MsmError } from "../errors.js";
import { withDeadline } from "./deadline.js";
import type { HostAndPort, RedisDeployment } from "./redis-address.js";
import { type RedisAddress, RedisConnection } from "./redis-connection.js";

/**
 * The Sentinels that watch one master with its replicas.
 *
 * Each time somebody connects, another one is asked first: who hangs, is cut off, or has not heard of a failover yet,
 * costs one attempt at most.
 */
export class RedisSentinels {
  readonly #sentinels: readonly HostAndPort[];
  readonly #options: RedisOptions;
  readonly #timeoutMs: number;
  readonly #watch: RedisConnection;
  #attempts = 0;
  /** Whom they named last. */
  #master: string | undefined;

  constructor({ sentinels, options }: Extract<RedisDeployment, { kind: "sentinels" }>, timeoutMs: number) {
    this.#sentinels = sentinels;
    this.#timeoutMs = timeoutMs;
    this.#options = {
      connectTimeout: 2 * timeoutMs,
      // So that there is time in one attempt for two that hang.
      sentinelCommandTimeout: Math.ceil(timeoutMs / 3),
      ...options,
    };
    this.#watch = new RedisConnection(() => this.#addressOfSentinel());
  }

  /** How ioredis finds the master. */
  address(): RedisAddress {
    return { options: { ...this.#options, sentinels: this.#inTurn() } };
  }

  /**
   * Asks a sentinel who the master is. The old one may well answer still, and acknowledge what is lost when it becomes a
   * replica: Sentinels tell it of that some 10 s after a failover.
   * @returns whether that is another one than when this was asked last; false where no sentinel answers
   */
  async hasSwitched(): Promise<boolean> {
    const ask = (redis: Redis) => redis.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", this.#options.name ?? "");
    try {
      const reply = await withDeadline(
        "redis sentinel",
        this.#timeoutMs,
        () => this.#watch.use(ask),
        (error) => this.#watch.drop(error),
      );
      if (!Array.isArray(reply)) return false;
      const master = reply.join(":");
      const before = this.#master;
      this.#master = master;
      return before !== undefined && before !== master;
    } catch {
      return false; // the next one is asked the next time
    }
  }

  /** Ends the connection to a sentinel; resolves when the socket is closed. */
  end(error: MsmError): Promise<void> {
    return this.#watch.end(error);
  }

  #inTurn(): HostAndPort[] {
    const first = this.#attempts++ % this.#sentinels.length;
    return [...this.#sentinels.slice(first), ...this.#sentinels.slice(0, first)];
  }

  #addressOfSentinel(): RedisAddress {
    const { connectTimeout, sentinelUsername, sentinelPassword, sentinelTLS } = this.#options;
    const options = {
      connectTimeout,
      ...this.#inTurn()[0]!,
      ...(sentinelUsername !== undefined && { username: sentinelUsername }),
      ...(sentinelPassword !== undefined && { password: sentinelPassword }),
      ...(sentinelTLS !== undefined && { tls: sentinelTLS }),
    };
    return { options };
  }
}
