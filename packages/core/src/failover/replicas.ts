import type { Clock } from "../clock.js";
import type { Successor } from "../session/record.js";
import type { SessionIdentity } from "../session/session-id.js";
import type { Lease } from "../storage/storage.js";
import { Burials } from "./burials.js";
import { EmptiedNodes } from "./emptied-nodes.js";
import { MissedRecords } from "./missed-records.js";
import {
  type Ended,
  type FoundRecord,
  type LockedRecord,
  NodeReader,
  type NodeReaderParts,
} from "./node-reader.js";
import { type Hint, type ReadResult, RecordSearch } from "./record-search.js";
import { type CopyResult, RecordWriter, type WriteRequest, type WriteResult } from "./record-writer.js";
import type { RingNode } from "./ring-node.js";
import { SharedSuspicion } from "./shared-suspicion.js";

/** What the copies of records need from outside. */
export interface ReplicasParts extends NodeReaderParts {
  readonly clock: Clock;
}

/** The copies of sessions' records on the ring: finds them, writes them, ends them, and keeps what a node has missed. */
export class Replicas {
  readonly #parts: ReplicasParts;
  readonly #reader: NodeReader;
  readonly #missed: MissedRecords;
  readonly #suspicion: SharedSuspicion;
  readonly #emptied: EmptiedNodes;
  readonly #search: RecordSearch;
  readonly #writer: RecordWriter;
  readonly #burials: Burials;

  constructor(parts: ReplicasParts) {
    const { ring, sealer, events, clock, keyPrefix } = parts;
    this.#parts = parts;
    const reader = new NodeReader(parts);
    const suspicion = new SharedSuspicion({ ring, sealer, clock, options: { keyPrefix } });
    const missed = new MissedRecords(ring, events, clock, (node) => suspicion.tell(node));
    this.#reader = reader;
    this.#suspicion = suspicion;
    this.#emptied = new EmptiedNodes({ ring, sealer, events, clock, options: { keyPrefix } });
    this.#missed = missed;
    this.#search = new RecordSearch({ ring, sealer, events, reader, missed, suspicion });
    this.#writer = new RecordWriter({ ring, reader, missed });
    this.#burials = new Burials({ ring, sealer, reader, missed });
  }

  /** See `RecordSearch.read`. */
  read(identity: SessionIdentity, hint: Hint, leftMs?: number): Promise<ReadResult> {
    return this.#search.read(identity, hint, leftMs);
  }

  /** See `RecordSearch.lock`. */
  lock(identity: SessionIdentity, hint: Hint, lease: Lease): Promise<ReadResult | LockedRecord> {
    return this.#search.lock(identity, hint, lease);
  }

  /** Gives the lease of a session a new time to live. @returns whether the token holds it. @throws MsmError */
  async renewLease(node: RingNode, identity: SessionIdentity, lease: Lease): Promise<boolean> {
    return node.run((storage) => storage.renewLease(this.#reader.key(identity), lease));
  }

  /** Frees the lease of a session where the token holds it. @returns whether it did. @throws MsmError */
  async unlock(node: RingNode, identity: SessionIdentity, token: string): Promise<boolean> {
    return node.run((storage) => storage.unlock(this.#reader.key(identity), token));
  }

  /** Calls `listener` when the lease of a session was given back; may miss it. @returns what ends that */
  onRelease(node: RingNode, identity: SessionIdentity, listener: () => void): () => void {
    return node.storage.onRelease?.(this.#reader.key(identity), listener) ?? (() => {});
  }

  /** See `RecordWriter.write`. */
  write(request: WriteRequest): Promise<WriteResult> {
    return this.#writer.write(request);
  }

  /** See `RecordWriter.copy`. */
  copy(identity: SessionIdentity, home: string, bytes: Uint8Array, ttlMs: number): Promise<CopyResult> {
    return this.#writer.copy(identity, home, bytes, ttlMs);
  }

  /** See `RecordWriter.follow`. */
  follow(node: string, identity: SessionIdentity, bytes: Uint8Array, ttlMs: number): void {
    this.#writer.follow(node, identity, bytes, ttlMs);
  }

  /** Gives a record that was looked at, without a use of the session, what is left of its life. */
  async keepAlive(found: FoundRecord, identity: SessionIdentity, leftMs: number): Promise<void> {
    await found.node.run((storage) => storage.touch(this.#reader.key(identity), leftMs));
  }

  /**
   * Keeps the copy alive that reads of the primary do not touch, and makes it anew where it is missing or older.
   * @returns the node that has it; undefined where no other node can be reached
   */
  async renewCopy(
    found: FoundRecord,
    identity: SessionIdentity,
    ttlMs: number,
  ): Promise<RingNode | undefined> {
    const node = this.#parts.ring.targets(found.node.id).find((target) => target !== found.node);
    if (node === undefined) return undefined;
    const key = this.#reader.key(identity);
    if (await node.run((storage) => storage.putIfNewer(key, found.bytes, ttlMs)))
      this.#parts.events.emit("repaired", { session: identity.name, node: node.id });
    else await node.run((storage) => storage.touch(key, ttlMs));
    return node;
  }

  /** See `Burials.bury`. */
  bury(identity: SessionIdentity, successor?: Successor): Promise<Ended | undefined> {
    return this.#burials.bury(identity, successor);
  }

  /** How many records a node did not take yet. */
  missedBy(node: RingNode): number {
    return this.#missed.countFor(node);
  }

  /** Offers what nodes did not take to those that can be reached now; resolves when they have answered. */
  deliverMissed(): Promise<void> {
    return this.#missed.deliverNow();
  }

  /** To be called when the ring has changed. */
  followRing(): void {
    this.#missed.followRing();
  }

  close(): void {
    this.#suspicion.stop();
    this.#emptied.stop();
    this.#missed.close();
  }
}
