import { Background } from "../background.js";
import type { Unsubscribe } from "../events.js";
import type { FoundRecord } from "../failover/node-reader.js";
import type { Parts } from "../parts.js";
import type { SessionIdentity } from "../session/session-id.js";

const mostRemembered = 100_000;

/**
 * Keeps the secondary copies of non-sticky sessions alive. A read renews the primary only; so that a session that is
 * only read is never without its copy, the copy is renewed whenever this process has not seen to it for half of the
 * idle timeout. In the background, and at the cost of one operation: a request waits for none of it.
 */
export class CopyRenewals {
  readonly #parts: Parts;
  readonly #background = new Background();
  /** When the copy of a session was last written or renewed by this process. */
  readonly #renewedAtMs = new Map<string, number>();
  readonly #stops: readonly Unsubscribe[];

  constructor(parts: Parts) {
    this.#parts = parts;
    // What was on a node that went away, or may have restarted, is perhaps no longer there: seen to with the next use.
    const forget = () => this.#renewedAtMs.clear();
    this.#stops = [parts.events.on("nodeDown", forget), parts.events.on("nodeReconnected", forget)];
  }

  /** Notes that a copy was written just now. */
  noteWritten(identity: SessionIdentity): void {
    this.#renewedAtMs.delete(identity.digest);
    this.#renewedAtMs.set(identity.digest, this.#parts.clock.monotonicMs());
    if (this.#renewedAtMs.size <= mostRemembered) return;
    const [oldest] = this.#renewedAtMs.keys();
    if (oldest !== undefined) this.#renewedAtMs.delete(oldest);
  }

  /** Renews the copy where that is due. */
  renewSoon(identity: SessionIdentity, found: FoundRecord): void {
    if (this.#parts.ring.nodes.length < 2) return;
    const { idleTimeoutMs } = found.record;
    const renewedAtMs = this.#renewedAtMs.get(identity.digest);
    if (renewedAtMs !== undefined && this.#parts.clock.monotonicMs() - renewedAtMs < idleTimeoutMs / 2)
      return;
    this.makeSoon(identity, found);
  }

  /** Sees to it now that there is a copy: renews it, or writes it where it is missing. */
  makeSoon(identity: SessionIdentity, found: FoundRecord): void {
    this.noteWritten(identity);
    this.#background.run(async () => {
      const renewed = await this.#parts.replicas
        .renewCopy(found, identity, found.record.idleTimeoutMs)
        .catch(() => undefined);
      if (renewed === undefined) this.#renewedAtMs.delete(identity.digest); // tried again with the next request
    });
  }

  /** Resolves when no renewal is under way. */
  drain(): Promise<void> {
    for (const stop of this.#stops) stop();
    return this.#background.drain();
  }
}
