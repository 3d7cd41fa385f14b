import type { Unsubscribe } from "../events.js";
import type { Parts } from "../parts.js";
import type { LiveSession } from "../session/live-session.js";
import type { SuccessorPlace } from "../session/record.js";
import type { SessionIdentity } from "../session/session-id.js";
import { endingRecord } from "./bury.js";

interface RecentEnd {
  readonly identity: SessionIdentity;
  readonly bytes: Uint8Array;
  /** Monotonic milliseconds. */
  readonly endedMs: number;
}

/** Longer than other processes take to learn of it, and than what they have of the session waits for a node. */
const keptForMs = 600_000;
const mostEnds = 10_000;

/**
 * What this process ended a short while ago. A tombstone is as mortal as the node that has it: where all of them start
 * empty, another process that has the session in memory, and has not heard of its end, would put it there again. So a node
 * that was away, or may have restarted, gets these ends once more.
 */
export class RecentEnds {
  readonly #parts: Parts;
  /** By session id, oldest first. */
  readonly #ends = new Map<string, RecentEnd>();
  readonly #stops: readonly Unsubscribe[];

  constructor(parts: Parts) {
    this.#parts = parts;
    const putAll = ({ node }: { readonly node: string }) => this.#putAllOn(node);
    this.#stops = [parts.events.on("nodeUp", putAll), parts.events.on("nodeReconnected", putAll)];
  }

  /** @param successor where the session goes on under a new id, to which the old one leads for a while */
  note(live: LiveSession, successor: SuccessorPlace | undefined): void {
    const { identity } = live;
    if (!live.announced || this.#ends.has(identity.id)) return;
    this.#forgetOld();
    const bytes = endingRecord(live, successor, this.#parts);
    this.#ends.set(identity.id, { identity, bytes, endedMs: this.#parts.clock.monotonicMs() });
  }

  stop(): void {
    for (const stop of this.#stops) stop();
    this.#ends.clear();
  }

  #putAllOn(node: string): void {
    this.#forgetOld();
    const { ring, replicas } = this.#parts;
    for (const { identity, bytes } of this.#ends.values())
      replicas.follow(node, identity, bytes, ring.longestRecordLifeMs);
  }

  #forgetOld(): void {
    const sinceMs = this.#parts.clock.monotonicMs() - keptForMs;
    for (const [id, { endedMs }] of this.#ends) {
      if (endedMs >= sinceMs && this.#ends.size < mostEnds) return;
      this.#ends.delete(id);
    }
  }
}
