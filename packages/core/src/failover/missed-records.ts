import type { Clock } from "../clock.js";
import type { EventEmitter, Unsubscribe } from "../events.js";
import { isTombstone, versionOf } from "../storage/record-prefix.js";
import type { Ring } from "./ring.js";
import type { RingNode } from "./ring-node.js";

interface Missed {
  readonly bytes: Uint8Array;
  /** When the record would have expired on the node; monotonic milliseconds. */
  readonly expiresMs: number;
}

const mostRecordsPerNode = 10_000;
const mostBytesPerNode = 32 * 1024 * 1024;
const deliveredAtOnce = 16;
const retryAfterMs = 1000;

/**
 * Records that a node should have and did not take: the tombstone of a session that it may still hold, a copy, the newest
 * version of a session that went on elsewhere while a cookie still leads to it. They are delivered as soon as the node
 * takes them, the newest of each session only, and with the rest of their life. At most 10,000 and 32 MiB a node; the
 * oldest go first.
 */
export class MissedRecords {
  readonly #perNode = new Map<RingNode, NodeBacklog>();
  readonly #delivering = new Map<RingNode, Promise<void>>();
  readonly #ring: Ring;
  readonly #clock: Clock;
  readonly #onStuck: (node: RingNode) => void;
  /** What calls off the next try, for each node that has one coming. */
  readonly #retries = new Map<RingNode, () => void>();
  readonly #stops: readonly Unsubscribe[];

  /** @param onStuck called where a node does not take what it misses, so that it depends on this process */
  constructor(ring: Ring, events: EventEmitter, clock: Clock, onStuck: (node: RingNode) => void) {
    this.#ring = ring;
    this.#onStuck = onStuck;
    this.#clock = clock;
    this.#stops = [
      events.on("nodeUp", ({ node: id }) => {
        const node = ring.node(id);
        if (node !== undefined) void this.#deliver(node);
      }),
      events.on("nodeLeft", () => this.followRing()),
    ];
  }

  /** Keeps a record for a node, and tries at once where the node can be reached. */
  keep(node: RingNode, key: string, bytes: Uint8Array, ttlMs: number): void {
    const backlog = this.#perNode.get(node) ?? new NodeBacklog();
    this.#perNode.set(node, backlog);
    backlog.put(key, { bytes, expiresMs: this.#clock.monotonicMs() + ttlMs });
    if (!node.reachable) this.#onStuck(node);
    if (!this.#retries.has(node)) void this.#deliver(node);
  }

  /** A node has taken this record in the meantime: what waits for it of the same session, and is older, is done with. */
  supersede(node: RingNode, key: string, bytes: Uint8Array): void {
    const backlog = this.#perNode.get(node);
    const missed = backlog?.get(key);
    if (missed !== undefined && versionOf(missed.bytes) <= versionOf(bytes)) backlog?.remove(key, missed);
  }

  /** How many records wait for a node. */
  countFor(node: RingNode): number {
    return this.#perNode.get(node)?.size ?? 0;
  }

  /** Offers once more what waits, to all nodes that answer; resolves when they have it or did not take it. */
  async deliverNow(): Promise<void> {
    const nodes = [...this.#perNode.keys()].filter((node) => this.countFor(node) > 0);
    await Promise.all(
      nodes.map(async (node) => {
        await this.#delivering.get(node);
        if (await node.answers()) await this.#deliverAll(node, () => true);
      }),
    );
  }

  /** The ring has changed: what waits for a node that is none of it any more is for the one that has its name, if any. */
  followRing(): void {
    const { nodes, leaving } = this.#ring;
    for (const [node, backlog] of this.#perNode) {
      if (nodes.includes(node) || leaving.includes(node)) continue;
      this.#drop(node);
      const heir = this.#ring.node(node.id);
      if (heir !== undefined) this.#handOn(backlog, heir);
    }
  }

  /** The end of this session that a node has not yet taken; undefined where there is none. */
  tombstone(key: string): Uint8Array | undefined {
    if (this.#perNode.size === 0) return undefined;
    for (const backlog of this.#perNode.values()) {
      const missed = backlog.get(key);
      if (missed !== undefined && isTombstone(missed.bytes)) return missed.bytes;
    }
    return undefined;
  }

  close(): void {
    for (const stop of this.#stops) stop();
    this.#perNode.clear();
    for (const callOff of this.#retries.values()) callOff();
    this.#retries.clear();
  }

  #handOn(backlog: NodeBacklog, heir: RingNode): void {
    for (const [key, { bytes, expiresMs }] of backlog.first(backlog.size)) {
      const ttlMs = expiresMs - this.#clock.monotonicMs();
      if (ttlMs > 0) this.keep(heir, key, bytes, ttlMs);
    }
  }

  #drop(node: RingNode): void {
    this.#perNode.delete(node);
    this.#retries.get(node)?.();
    this.#retries.delete(node);
  }

  #deliver(node: RingNode): Promise<void> {
    const delivering = this.#delivering.get(node) ?? this.#deliverOrRetry(node);
    this.#delivering.set(node, delivering);
    return delivering;
  }

  async #deliverOrRetry(node: RingNode): Promise<void> {
    const isRefused = await this.#deliverAll(node);
    this.#delivering.delete(node);
    if (this.countFor(node) === 0) return;
    if (!isRefused && node.takesRecords) return void this.#deliver(node); // what is left came a moment ago
    this.#onStuck(node);
    this.#retryLater(node);
  }

  /** @returns whether the node did not take what it was offered */
  async #deliverAll(node: RingNode, goesOn = () => node.takesRecords): Promise<boolean> {
    const backlog = this.#perNode.get(node);
    while (backlog !== undefined && backlog.size > 0 && goesOn()) {
      const batch = backlog.first(deliveredAtOnce);
      const delivered = await Promise.all(batch.map(([key, missed]) => this.#deliverOne(node, key, missed)));
      batch.forEach(([key, missed], i) => {
        if (delivered[i]) backlog.remove(key, missed);
      });
      if (!delivered.includes(true)) return true;
    }
    return false;
  }

  /** A node that merely missed one operation is never going to come up, and one that is held down takes it all the same. */
  #retryLater(node: RingNode): void {
    if (this.#retries.has(node) || !this.#perNode.has(node)) return;
    const callOff = this.#clock.after(retryAfterMs, () => {
      this.#retries.delete(node);
      void this.#deliver(node);
    });
    this.#retries.set(node, callOff);
  }

  async #deliverOne(node: RingNode, key: string, { bytes, expiresMs }: Missed): Promise<boolean> {
    const ttlMs = expiresMs - this.#clock.monotonicMs();
    if (ttlMs <= 0) return true; // nothing older can be left there either
    try {
      await node.run((storage) => storage.putIfNewer(key, bytes, ttlMs));
      return true;
    } catch {
      return false; // stays
    }
  }
}

/** What one node has missed, by storage key, oldest first. */
class NodeBacklog {
  readonly #missed = new Map<string, Missed>();
  #bytes = 0;

  get size(): number {
    return this.#missed.size;
  }

  get(key: string): Missed | undefined {
    return this.#missed.get(key);
  }

  first(count: number): [string, Missed][] {
    const first: [string, Missed][] = [];
    for (const entry of this.#missed) {
      if (first.length === count) break;
      first.push(entry);
    }
    return first;
  }

  /** Keeps the newest of each session; a tombstone is the newest there can be. */
  put(key: string, missed: Missed): void {
    const known = this.#missed.get(key);
    if (known !== undefined && versionOf(known.bytes) > versionOf(missed.bytes)) return;
    this.#drop(key);
    this.#missed.set(key, missed);
    this.#bytes += missed.bytes.length;
    for (const oldest of this.#missed.keys()) {
      if (this.#missed.size <= mostRecordsPerNode && this.#bytes <= mostBytesPerNode) return;
      this.#drop(oldest);
    }
  }

  /** Removes a record, unless a newer one has taken its place. */
  remove(key: string, missed: Missed): void {
    if (this.#missed.get(key) === missed) this.#drop(key);
  }

  #drop(key: string): void {
    this.#bytes -= this.#missed.get(key)?.bytes.length ?? 0;
    this.#missed.delete(key);
  }
}
