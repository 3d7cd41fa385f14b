import type { Clock } from "../clock.js";
import type { EventEmitter, Unsubscribe } from "../events.js";
import type { Ring } from "./ring.js";
import type { RingNode } from "./ring-node.js";

interface Pending {
  readonly bytes: Uint8Array;
  readonly ttlMs: number;
}

const mostPendingPerNode = 10_000;
const deliveredAtOnce = 16;
const retryAfterMs = 1000;

/**
 * Tombstones for nodes that did not answer when a session was destroyed, delivered when they are back: what such a
 * node still holds must not bring the session back. At most 10,000 a node; the oldest go first.
 */
export class PendingTombstones {
  readonly #perNode = new Map<string, Map<string, Pending>>();
  readonly #clock: Clock;
  /** What calls off the next try, for each node that has one coming. */
  readonly #retries = new Map<string, () => void>();
  readonly #unsubscribe: Unsubscribe;

  constructor(ring: Ring, events: EventEmitter, clock: Clock) {
    this.#clock = clock;
    this.#unsubscribe = events.on("nodeUp", ({ node: id }) => {
      const node = ring.node(id);
      if (node !== undefined) void this.#deliver(node);
    });
  }

  keep(node: RingNode, key: string, bytes: Uint8Array, ttlMs: number): void {
    const pending = this.#perNode.get(node.id) ?? new Map<string, Pending>();
    this.#perNode.set(node.id, pending.set(key, { bytes, ttlMs }));
    for (const oldest of pending.keys()) {
      if (pending.size <= mostPendingPerNode) break;
      pending.delete(oldest);
    }
    this.#retryLater(node);
  }

  close(): void {
    this.#unsubscribe();
    this.#perNode.clear();
    for (const callOff of this.#retries.values()) callOff();
    this.#retries.clear();
  }

  async #deliver(node: RingNode): Promise<void> {
    const pending = this.#perNode.get(node.id);
    while (pending !== undefined && pending.size > 0 && node.reachable) {
      const batch = [...pending].slice(0, deliveredAtOnce);
      const delivered = await Promise.all(batch.map((entry) => this.#deliverOne(node, ...entry)));
      batch.forEach(([key], i) => {
        if (delivered[i]) pending.delete(key);
      });
      if (!delivered.includes(true)) return this.#retryLater(node);
    }
  }

  /** A node that merely missed one operation is never going to come up; one that is down is left to `nodeUp`. */
  #retryLater(node: RingNode): void {
    if (this.#retries.has(node.id) || !this.#perNode.has(node.id)) return;
    const callOff = this.#clock.after(retryAfterMs, () => {
      this.#retries.delete(node.id);
      void this.#deliver(node);
    });
    this.#retries.set(node.id, callOff);
  }

  async #deliverOne(node: RingNode, key: string, { bytes, ttlMs }: Pending): Promise<boolean> {
    try {
      await node.run((storage) => storage.putIfNewer(key, bytes, ttlMs));
      return true;
    } catch {
      return false; // stays pending
    }
  }
}
