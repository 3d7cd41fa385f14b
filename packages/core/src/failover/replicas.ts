import type { Clock } from "../clock.js";
import { MsmError } from "../errors.js";
import type { EventEmitter } from "../events.js";
import { isNewerFormat, type RecordSealer, type SessionRecord, type Successor } from "../session/record.js";
import { type SessionIdentity, storageKey } from "../session/session-id.js";
import { isTombstone, tombstoneVersion, versionOf, writeIdOf } from "../storage/record-prefix.js";
import type { Lease, Revision } from "../storage/storage.js";
import { MissedRecords } from "./missed-records.js";
import type { Ring } from "./ring.js";
import type { RingNode } from "./ring-node.js";
import { SharedSuspicion } from "./shared-suspicion.js";

/**
 * Where a session is said to be: the id of the node, from a cookie; or, where there is no cookie, a guess, which decides
 * nothing where another node has a newer record.
 */
export type Hint = string | { readonly guess: string };

/** A record that was found, checked, and where. */
export interface FoundRecord {
  readonly kind: "found";
  readonly node: RingNode;
  readonly revision: Revision;
  readonly bytes: Uint8Array;
  readonly record: SessionRecord;
  /** Whether another process waits for the lease that it was read under. */
  readonly isWanted?: boolean;
  /** Ids of the nodes that have a record of the session, where more than one was asked. */
  readonly alsoOn?: readonly string[];
}

/** A session's newest record, or why there is none. */
export type ReadResult = FoundRecord | "absent" | Ended;

/** The session was destroyed. */
export interface Ended {
  readonly kind: "ended";
  /** Where it goes on under a new id. */
  readonly successor: Successor | undefined;
}

/** What became of a write. */
export type WriteResult =
  | {
      readonly kind: "stored";
      readonly node: RingNode;
      readonly revision: Revision;
      /** What was written. */
      readonly bytes: Uint8Array;
      /** Whether the lease was given back with it. */
      readonly gaveBack: boolean;
    }
  /** Another wrote a version that this one does not contain. */
  | { readonly kind: "newer"; readonly found: FoundRecord }
  | Ended
  /** No node has the session any more: it expired, was evicted, or all nodes that had it started empty. */
  | { readonly kind: "gone" };

/** What became of a copy. */
export type CopyResult =
  | { readonly kind: "copied" }
  /** No other node can be reached. */
  | { readonly kind: "alone" }
  | { readonly kind: "newer"; readonly found: FoundRecord }
  | Ended;

/** The version that a write replaces. */
export interface Replaced {
  readonly revision: Revision;
  /** Id of the node that it is known to be on. */
  readonly node: string;
  /** Whether the version of a write is one that the new one contains. */
  contains(writeId: string): boolean;
}

export interface WriteRequest {
  readonly identity: SessionIdentity;
  /**
   * Makes the record for the node of that id, always the same write.
   * @param failed how many nodes may have taken it before without saying so
   */
  sealFor(home: string, failed: number): Uint8Array;
  readonly ttlMs: number;
  /** Id of the node that has the session, or shall have it. */
  readonly node: string;
  /** The revision on that node that this write replaces; undefined for a session that was never stored. */
  readonly replaces: Replaced | undefined;
  /** Whether a record that is on no node any more is written again: only who holds the whole session may say so. */
  readonly recreate: boolean;
  /** Token of the lease on `node` that is given back with the write. */
  readonly unlock?: string | undefined;
}

/** Another holds the session's lease. */
export interface LockedRecord {
  readonly kind: "locked";
  readonly node: RingNode;
  /** The lease ends by itself by then, unless it is renewed. */
  readonly retryAfterMs: number;
}

/** What a node is asked for with the record. */
interface AskOptions {
  /** See `read`. */
  readonly leftMs?: number | undefined;
  readonly lease?: Lease | undefined;
}

type Answer =
  | FoundRecord
  | LockedRecord
  | { readonly kind: "absent"; readonly node: RingNode }
  | { readonly kind: "spoilt"; readonly node: RingNode }
  | {
      readonly kind: "unknown";
      readonly node: RingNode;
      readonly error: MsmError;
      /** The node has a record of a later release: certainly newer than whatever another has. */
      readonly isNewerFormat?: true;
    };

export interface ReplicasParts {
  readonly ring: Ring;
  readonly sealer: RecordSealer;
  readonly keyPrefix: string;
  /** The usual idle timeout: what a load renews a record with that names no other. */
  readonly idleTimeoutMs: number;
  readonly events: EventEmitter;
  readonly clock: Clock;
}

/**
 * Reads and writes the copies of a session's record on the ring.
 *
 * Reads ask the hinted node alone while it can be believed. Where it has nothing, is down, suspect or spoilt, all that
 * can be reached are asked, the highest version wins, and the node that the session goes on with gets it. "Absent" is
 * an answer only when every node that may hold a copy gave it.
 */
export class Replicas {
  readonly #parts: ReplicasParts;
  readonly #missed: MissedRecords;
  readonly #suspicion: SharedSuspicion;
  /** Fingerprints of other rings that were warned of. */
  readonly #strangeRings = new Set<string>();

  constructor(parts: ReplicasParts) {
    this.#parts = parts;
    const { ring, sealer, events, clock, keyPrefix } = parts;
    this.#suspicion = new SharedSuspicion({ ring, sealer, clock, options: { keyPrefix } });
    this.#missed = new MissedRecords(ring, events, clock, (node) => this.#suspicion.tell(node));
  }

  /**
   * Finds a session's newest record, and lets its time to live start anew.
   * @param leftMs where this is no use of the session: what is left of its life, and stays so
   * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where it cannot be known whether there is one, or which is the newest
   */
  async read(identity: SessionIdentity, hint: Hint, leftMs?: number): Promise<ReadResult> {
    if (this.#suspicion.starting !== undefined) await this.#suspicion.starting;
    const missed = this.#missedEnd(identity);
    if (missed !== undefined) return missed;
    const trusted = this.#trusted(identity, hint);
    const answer = trusted && (await this.#ask(identity, trusted, { leftMs }));
    if (answer?.kind === "found") return foundOrEnded(answer);
    return this.#readAll(identity, hint, answer, leftMs);
  }

  /**
   * As `read`, together with the session's lease, which is on the node that the session goes on with: in one round trip
   * where that is the hinted one. Nothing is locked where there is no session.
   * @throws MsmError as `read`; what was taken is then given back
   */
  async lock(identity: SessionIdentity, hint: Hint, lease: Lease): Promise<ReadResult | LockedRecord> {
    if (this.#suspicion.starting !== undefined) await this.#suspicion.starting;
    const missed = this.#missedEnd(identity);
    if (missed !== undefined) return missed;
    const trusted = this.#trusted(identity, hint);
    const answer = trusted && (await this.#askForLease(identity, trusted, lease));
    if (answer?.kind === "found") return foundOrEnded(answer);
    if (answer?.kind === "locked") return answer;

    // What was asked in vain, or has only a damaged record, may have given the lease all the same.
    if (trusted !== undefined && answer?.kind !== "absent") this.#unlockSoon(trusted, identity, lease.token);
    const found = await this.#readAll(identity, hint, answer);
    return found === "absent" || found.kind === "ended" ? found : this.#lockFound(identity, found, lease);
  }

  /** Gives the lease of a session a new time to live. @returns whether the token holds it. @throws MsmError */
  async renewLease(node: RingNode, identity: SessionIdentity, lease: Lease): Promise<boolean> {
    return node.run((storage) => storage.renewLease(this.#key(identity), lease));
  }

  /** Frees the lease of a session where the token holds it. @returns whether it did. @throws MsmError */
  async unlock(node: RingNode, identity: SessionIdentity, token: string): Promise<boolean> {
    return node.run((storage) => storage.unlock(this.#key(identity), token));
  }

  /** Calls `listener` when the lease of a session was given back; may miss it. @returns what ends that */
  onRelease(node: RingNode, identity: SessionIdentity, listener: () => void): () => void {
    return node.storage.onRelease?.(this.#key(identity), listener) ?? (() => {});
  }

  /**
   * Writes a record that must replace the revision it was made from. Where its node fails, the next one takes it, if
   * that has nothing newer.
   * @throws MsmError of the storage where no node took it; the write may have been applied all the same
   */
  async write(request: WriteRequest): Promise<WriteResult> {
    this.#parts.ring.noteRecordLife(request.ttlMs);
    const home = this.#parts.ring.node(request.node);
    let trouble: MsmError | undefined;
    let failed = 0;
    for (const node of this.#parts.ring.targets(request.node)) {
      try {
        const bytes = request.sealFor(node.id, failed);
        if (node === home) return await this.#writeHome(node, request, bytes);
        const result = await this.#writeElsewhere(node, request, bytes);
        // Cookies that are out lead there still, and may be all that is left to find the session by.
        if (result.kind === "stored" && home !== undefined) {
          const { identity, ttlMs } = request;
          this.#keepFor(home, { identity, bytes, ttlMs });
        }
        return result;
      } catch (thrown) {
        trouble = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
        failed++;
      }
    }
    throw trouble ?? new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "no storage node can be reached");
  }

  /** Puts a copy of what was written to `home` on the next node that can be reached. */
  async copy(identity: SessionIdentity, home: string, bytes: Uint8Array, ttlMs: number): Promise<CopyResult> {
    const { ring } = this.#parts;
    const homeNode = ring.node(home);
    const rightful = ring.candidates(home)[1];
    for (const node of ring.targets(home)) {
      if (node === homeNode) continue;
      try {
        const written = await node.run((storage) => storage.putIfNewer(this.#key(identity), bytes, ttlMs));
        if (!written) return await this.#compareCopy(identity, bytes, node, homeNode);
        if (node !== rightful) this.#keepFor(rightful, { identity, bytes, ttlMs });
        return { kind: "copied" };
      } catch {
        // The node's watch has noted it. A copy is as good on the next one.
      }
    }
    this.#keepFor(rightful, { identity, bytes, ttlMs });
    return { kind: "alone" };
  }

  /** Sees to it, in the background, that the node which a cookie names has a session's newest record as well. */
  follow(node: string, identity: SessionIdentity, bytes: Uint8Array, ttlMs: number): void {
    const { ring } = this.#parts;
    // Other processes may not know yet that a node is leaving.
    const named = ring.node(node) ?? ring.leaving.find(({ id }) => id === node);
    this.#keepFor(named, { identity, bytes, ttlMs });
  }

  /** Gives a record that was looked at, without a use of the session, what is left of its life. */
  async keepAlive(found: FoundRecord, identity: SessionIdentity, leftMs: number): Promise<void> {
    await found.node.run((storage) => storage.touch(this.#key(identity), leftMs));
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
    const key = this.#key(identity);
    if (await node.run((storage) => storage.putIfNewer(key, found.bytes, ttlMs)))
      this.#repaired(identity, node);
    else await node.run((storage) => storage.touch(key, ttlMs));
    return node;
  }

  /**
   * Writes a tombstone to every node that answers, and keeps it for those that do not. It lives as long as any older
   * copy may.
   * @param successor where the session goes on under a new id
   * @returns how the session had ended before, where a node says that it had
   * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where none answered
   */
  async bury(identity: SessionIdentity, successor?: Successor): Promise<Ended | undefined> {
    const ttlMs = this.#parts.ring.longestRecordLifeMs;
    const { ring } = this.#parts;
    const key = this.#key(identity);
    const bytes = this.#parts.sealer.tombstone(identity, ttlMs, successor);
    const buried = await Promise.all(
      [...ring.nodes, ...ring.leaving].map(async (node) => {
        const end = await this.#buryOn(node, identity, bytes, ttlMs);
        if (end === undefined) this.#missed.keep(node, key, bytes, ttlMs);
        return end;
      }),
    );
    if (buried.every((end) => end === undefined)) {
      if (ring.isOff) return undefined; // it ended in this process, which is the only one to have it now
      throw new MsmError(
        "MSM_ERR_STORAGE_UNAVAILABLE",
        "no storage node took the end of the session; it is kept for them",
      );
    }
    return buried.find((end) => end !== undefined && end !== "taken") as Ended | undefined;
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
    this.#missed.close();
  }

  /** The end of the session, where this process knows of it and a node does not yet. */
  #missedEnd(identity: SessionIdentity): Ended | undefined {
    const tombstone = this.#missed.tombstone(this.#key(identity));
    return tombstone && endOf(this.#parts.sealer.open(identity, tombstone));
  }

  /** The node that the hint names, where it can be asked alone. */
  #trusted(identity: SessionIdentity, hint: Hint): RingNode | undefined {
    if (typeof hint !== "string") return undefined;
    const hinted = this.#parts.ring.node(hint);
    return hinted?.reachable === true && !hinted.isSuspect(this.#key(identity)) ? hinted : undefined;
  }

  /** Asks all nodes that can be reached, but for the one that has answered already. */
  async #readAll(
    identity: SessionIdentity,
    hinted: Hint,
    asked: Answer | undefined,
    leftMs?: number,
  ): Promise<ReadResult> {
    const { ring } = this.#parts;
    const hint = typeof hinted === "string" ? hinted : hinted.guess;
    const isSuspect = ring.node(hint)?.isSuspect(this.#key(identity)) === true;
    const members = ring.nodes; // whoever joins meanwhile is none of those that may have it
    const others = ring.holders(hint).filter((node) => node.reachable && node !== asked?.node);
    const answers = await Promise.all(others.map((node) => this.#askHolder(identity, node, leftMs)));
    if (asked !== undefined) answers.unshift(asked);
    const newest = newestOf(answers);
    if (newest === undefined) {
      this.#checkAbsent(answers, members);
      return "absent";
    }
    this.#checkCompared(answers, isSuspect);
    const home = typeof hinted === "string" ? hinted : newest.node.id;
    return this.#settle(identity, home, newest, answers, leftMs);
  }

  /**
   * As `#ask`. A node that is leaving may have what no member has; but where it cannot be reached it counts as empty, as
   * whoever took it out knows what became of it.
   */
  async #askHolder(identity: SessionIdentity, node: RingNode, leftMs?: number): Promise<Answer> {
    const answer = await this.#ask(identity, node, { leftMs });
    if (answer.kind !== "unknown" || answer.isNewerFormat === true || !node.isLeaving) return answer;
    await node.getReady();
    return node.reachable ? this.#ask(identity, node, { leftMs }) : { kind: "absent", node };
  }

  /** Asked again where the reply was lost: with the same token that is safe, and the lease is perhaps ours already. */
  async #askForLease(identity: SessionIdentity, node: RingNode, lease: Lease): Promise<Answer> {
    const answer = await this.#ask(identity, node, { lease });
    return answer.kind === "unknown" && node.reachable ? this.#ask(identity, node, { lease }) : answer;
  }

  /** The session goes on with a node that was asked for the record alone. */
  async #lockFound(
    identity: SessionIdentity,
    found: FoundRecord,
    lease: Lease,
  ): Promise<ReadResult | LockedRecord> {
    const answer = await this.#askForLease(identity, found.node, lease);
    switch (answer.kind) {
      case "locked":
        return answer;
      case "found":
        // It may have been changed since; an older one can only be what the repair of the node left behind.
        return answer.revision.version < found.revision.version
          ? { ...found, isWanted: answer.isWanted === true }
          : foundOrEnded(answer);
      default:
        this.#unlockSoon(found.node, identity, lease.token);
        throw answer.kind === "unknown"
          ? answer.error
          : new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", `node ${found.node.id} lost the session meanwhile`);
    }
  }

  /** For a lease that may have been taken; where that fails as well, it ends by itself. */
  #unlockSoon(node: RingNode, identity: SessionIdentity, token: string): void {
    this.unlock(node, identity, token).catch(() => {});
  }

  /**
   * Tried twice where the node is there: until it has the tombstone, other processes find the session on it.
   * @returns "taken"; or how the session had ended before; undefined where the node did not take it
   */
  async #buryOn(
    node: RingNode,
    identity: SessionIdentity,
    bytes: Uint8Array,
    ttlMs: number,
  ): Promise<"taken" | Ended | undefined> {
    const key = this.#key(identity);
    for (let tries = 0; tries < 2 && node.reachable; tries++) {
      try {
        const isTaken = await node.run((storage) => storage.putIfNewer(key, bytes, ttlMs));
        return isTaken ? "taken" : await this.#endOn(node, identity, bytes);
      } catch (error) {
        if (error instanceof MsmError && error.code === "MSM_ERR_STORAGE_REFUSED")
          return this.#expireOn(node, key);
      }
    }
    return undefined;
  }

  /** The node has a tombstone already: ours, as we try again or it was written under the version check; or another's. */
  async #endOn(node: RingNode, identity: SessionIdentity, bytes: Uint8Array): Promise<"taken" | Ended> {
    const found = await this.#inspect(identity, node);
    if (found === undefined || !isTombstone(found.bytes)) return "taken";
    return found.record.writeId === writeIdOf(bytes) ? "taken" : endOf(found.record);
  }

  /** A node whose memory is full takes no tombstone, but lets a record expire; the tombstones on others tell why. */
  async #expireOn(node: RingNode, key: string): Promise<undefined> {
    try {
      await node.run((storage) => storage.touch(key, 1));
    } catch {
      // It stays among the missed, as it does in any case.
    }
    return undefined;
  }

  #keepFor(
    node: RingNode | undefined,
    { identity, bytes, ttlMs }: Pick<WriteRequest, "identity" | "ttlMs"> & { readonly bytes: Uint8Array },
  ): void {
    if (node !== undefined && !node.failoverOnly) this.#missed.keep(node, this.#key(identity), bytes, ttlMs);
  }

  async #writeHome(node: RingNode, request: WriteRequest, bytes: Uint8Array): Promise<WriteResult> {
    const { identity, ttlMs, replaces, unlock } = request;
    const key = this.#key(identity);
    if (replaces !== undefined && replaces.node !== node.id) {
      // The number of a version says nothing about another node: two processes may have given it to two of them.
      const fork = await this.#forkOn(node, request);
      if (fork !== undefined) return this.#outcomeOf(fork, bytes);
    }
    const saved = await node.run((storage) =>
      storage.save(key, bytes, ttlMs, {
        expect: expected(replaces, node),
        ...(unlock === undefined ? {} : { unlock }),
      }),
    );
    if (saved.kind === "stored") {
      return this.#stored(node, identity, bytes, saved.revision, unlock !== undefined);
    }
    if (saved.kind === "gone") return this.#writeAgain(node, request, bytes);

    const found = await this.#inspect(identity, node);
    if (found === undefined) return this.#writeAgain(node, request, bytes);
    if (replaces !== undefined && found.revision.version < replaces.revision.version) {
      // Older than what the session was loaded from: the node has slept through a write.
      return this.#writeElsewhere(node, request, bytes);
    }
    return this.#outcomeOf(found, bytes);
  }

  /** The record has left its node: the others may know why. */
  async #writeAgain(node: RingNode, request: WriteRequest, bytes: Uint8Array): Promise<WriteResult> {
    const { identity, ttlMs } = request;
    const members = this.#parts.ring.nodes;
    const others = this.#parts.ring.holders(node.id).filter((other) => other !== node);
    const answers = await Promise.all(
      others.filter((other) => other.reachable).map((other) => this.#askHolder(identity, other)),
    );
    const newest = newestOf(answers);
    const overtaken = request.replaces?.revision.version ?? "";
    const isNewer = (version: string) => version >= versionOf(bytes) || version > overtaken;
    // What only a node has that is leaving is yet to be put on a member.
    const isLeftBehind = newest?.node.isLeaving === true && newest.record.writeId === writeIdOf(bytes);
    if (newest !== undefined && !isLeftBehind && isNewer(newest.revision.version))
      return this.#outcomeOf(newest, bytes);
    if (newest === undefined && !request.recreate) {
      this.#checkAbsent([...answers, { kind: "absent", node }], members);
      return { kind: "gone" };
    }
    const again = await node.run((storage) =>
      storage.save(this.#key(identity), bytes, ttlMs, { expect: "absent" }),
    );
    if (again.kind === "stored") return this.#stored(node, identity, bytes, again.revision);
    const found = await this.#inspect(identity, node);
    return found === undefined ? { kind: "gone" } : this.#outcomeOf(found, bytes);
  }

  async #writeElsewhere(node: RingNode, request: WriteRequest, bytes: Uint8Array): Promise<WriteResult> {
    const { identity, ttlMs } = request;
    const key = this.#key(identity);
    const fork = await this.#forkOn(node, request);
    if (fork !== undefined) return this.#outcomeOf(fork, bytes);
    if (await node.run((storage) => storage.putIfNewer(key, bytes, ttlMs))) {
      return this.#stored(node, identity, bytes, { version: versionOf(bytes) });
    }
    const found = await this.#inspect(identity, node);
    if (found === undefined)
      throw new MsmError("MSM_ERR_STORAGE_REFUSED", `node ${node.id} neither took nor has the record`);
    return this.#outcomeOf(found, bytes);
  }

  /** A record on another node that does not come before the version which a write replaces. @throws MsmError */
  async #forkOn(node: RingNode, { identity, replaces }: WriteRequest): Promise<FoundRecord | undefined> {
    if (replaces === undefined) return undefined;
    const found = await this.#inspect(identity, node);
    const isKnown = found === undefined || replaces.contains(found.record.writeId);
    return isKnown || found.revision.version < replaces.revision.version ? undefined : found;
  }

  /** A node has this version or a newer one. Ours, whose reply was lost, is stored; another's must be merged. */
  #outcomeOf(found: FoundRecord, bytes: Uint8Array): WriteResult {
    if (found.record.writeId === writeIdOf(bytes))
      return { kind: "stored", node: found.node, revision: found.revision, bytes, gaveBack: false };
    if (isTombstone(found.bytes)) return endOf(found.record);
    return { kind: "newer", found };
  }

  #stored(
    node: RingNode,
    identity: SessionIdentity,
    bytes: Uint8Array,
    revision: Revision,
    gaveBack = false,
  ): WriteResult {
    node.confirm(this.#key(identity));
    return { kind: "stored", node, revision, bytes, gaveBack };
  }

  /**
   * The copy's node had this version or a newer one. Where the primary has gone on in the meantime, its later writer
   * made the copy. Where the primary still has ours, two processes wrote to different nodes.
   */
  async #compareCopy(
    identity: SessionIdentity,
    bytes: Uint8Array,
    node: RingNode,
    home: RingNode | undefined,
  ): Promise<CopyResult> {
    const copy = await this.#inspect(identity, node);
    if (copy === undefined || copy.record.writeId === writeIdOf(bytes)) return { kind: "copied" };
    if (isTombstone(copy.bytes)) return endOf(copy.record);
    const primary = home && (await this.#ask(identity, home));
    const superseded = primary?.kind === "found" && primary.record.writeId !== writeIdOf(bytes);
    return superseded ? { kind: "copied" } : { kind: "newer", found: copy };
  }

  async #ask(identity: SessionIdentity, node: RingNode, { leftMs, lease }: AskOptions = {}): Promise<Answer> {
    const options = {
      ...(leftMs === undefined ? { renewTtlMs: this.#parts.idleTimeoutMs } : {}),
      ...(lease === undefined ? {} : { lease }),
    };
    try {
      const loaded = await node.run((storage) => storage.load(this.#key(identity), options));
      if (loaded.kind === "locked") return { kind: "locked", node, retryAfterMs: loaded.retryAfterMs };
      if (loaded.kind === "absent") return { kind: "absent", node };
      const answer = this.#opened(identity, node, loaded.record, loaded.revision);
      return answer.kind === "found" && loaded.isWanted === true ? { ...answer, isWanted: true } : answer;
    } catch (thrown) {
      return { kind: "unknown", node, error: MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE") };
    }
  }

  /** As `#ask`, where trouble must not be taken for absence. */
  async #inspect(identity: SessionIdentity, node: RingNode): Promise<FoundRecord | undefined> {
    const answer = await this.#ask(identity, node);
    if (answer.kind === "unknown") throw answer.error;
    if (answer.kind === "spoilt")
      throw new MsmError("MSM_ERR_RECORD_SPOILT", `node ${node.id} has an unreadable record`);
    return answer.kind === "found" ? answer : undefined;
  }

  #opened(identity: SessionIdentity, node: RingNode, bytes: Uint8Array, revision: Revision): Answer {
    try {
      const record = this.#parts.sealer.open(identity, bytes);
      this.#compareRing(record);
      this.#parts.ring.noteRecordLife(record.idleTimeoutMs);
      return { kind: "found", node, revision, bytes, record };
    } catch (thrown) {
      const error = MsmError.from(thrown, "MSM_ERR_RECORD_SPOILT");
      this.#parts.events.emit("spoilt", { session: identity.name, node: node.id, error });
      if (isNewerFormat(bytes)) return { kind: "unknown", node, error, isNewerFormat: true };
      return this.#parts.sealer.isForeign(bytes)
        ? { kind: "unknown", node, error }
        : { kind: "spoilt", node };
    }
  }

  /** Processes that know different rings look for a session's copies in different places. */
  #compareRing({ ring, version }: SessionRecord): void {
    if (this.#parts.ring.knows(ring) || version === tombstoneVersion || this.#strangeRings.has(ring)) return;
    this.#strangeRings.add(ring);
    const message =
      "a process with other `nodes` or `failoverNodes`, or another order of them, writes to the same nodes";
    this.#parts.events.emit("warning", { message });
  }

  /** Lets the session go on where it should, with the newest record there. */
  async #settle(
    identity: SessionIdentity,
    hint: string,
    newest: FoundRecord,
    answers: readonly Answer[],
    leftMs: number | undefined,
  ): Promise<ReadResult> {
    const answered = answers.filter((answer) => answer.kind !== "unknown").map((answer) => answer.node);
    const home = this.#parts.ring.targets(hint).find((node) => answered.includes(node)) ?? newest.node;
    const ttlMs = leftMs ?? newest.record.idleTimeoutMs;
    const behind = answered.filter((node) => node !== newest.node && this.#isBehind(node, newest, answers));
    // A tombstone goes to all that lack it; a session to the one node that it goes on with, its copy follows its use.
    const wanting = isTombstone(newest.bytes) ? behind : behind.filter((node) => node === home);
    const taken = await Promise.all(wanting.map((node) => this.#repair(identity, node, newest.bytes, ttlMs)));
    if (isTombstone(newest.bytes)) return endOf(newest.record);

    const settled = home === newest.node || !behind.includes(home) || taken[0] === true ? home : newest.node;
    if (this.#parts.ring.nodes.every((node) => answered.includes(node))) settled.confirm(this.#key(identity));
    const alsoOn = answers.flatMap((answer) => (answer.kind === "found" ? [answer.node.id] : []));
    if (settled === newest.node) return { ...newest, alsoOn };
    const own = answers.find((answer) => answer.node === settled);
    const revision =
      own?.kind === "found" && taken.length === 0 ? own.revision : { version: newest.record.version };
    return { ...newest, node: settled, revision, alsoOn };
  }

  #isBehind(node: RingNode, newest: FoundRecord, answers: readonly Answer[]): boolean {
    const answer = answers.find((candidate) => candidate.node === node);
    return answer?.kind !== "found" || answer.revision.version < newest.revision.version;
  }

  async #repair(
    identity: SessionIdentity,
    node: RingNode,
    bytes: Uint8Array,
    ttlMs: number,
  ): Promise<boolean> {
    try {
      const written = await node.run((storage) => storage.putIfNewer(this.#key(identity), bytes, ttlMs));
      if (written) this.#repaired(identity, node);
      return true;
    } catch {
      return false; // the session stays where it was found
    }
  }

  #repaired(identity: SessionIdentity, node: RingNode): void {
    this.#parts.events.emit("repaired", { session: identity.name, node: node.id });
  }

  /** A suspect node's record counts for nothing while a node that may have a newer one is asked in vain. */
  #checkCompared(answers: readonly Answer[], isSuspect: boolean): void {
    const silent = answers.find((answer) => answer.kind === "unknown" && (isSuspect || answer.isNewerFormat));
    if (silent?.kind !== "unknown") return;
    throw new MsmError(
      "MSM_ERR_STORAGE_UNAVAILABLE",
      `node ${silent.node.id} may have a newer version of the session, which cannot be read now`,
      { cause: silent.error },
    );
  }

  /** Nothing was found. @throws MsmError where a node that may have the session did not say so */
  #checkAbsent(answers: readonly Answer[], members: readonly RingNode[]): void {
    const unknown = answers.find((answer) => answer.kind === "unknown");
    const isUnasked = (node: RingNode) => answers.every((answer) => answer.node !== node);
    const silent = unknown?.node ?? members.find((node) => isUnasked(node) && node.mayHoldRecords);
    if (silent === undefined) return;
    throw new MsmError(
      "MSM_ERR_STORAGE_UNAVAILABLE",
      `node ${silent.id} may have the session and does not answer`,
      {
        cause: unknown?.error,
      },
    );
  }

  #key(identity: SessionIdentity): string {
    return storageKey(this.#parts.keyPrefix, identity);
  }
}

/** What a node must have: it gave the revision itself, or is only known to have that version. */
function expected(replaces: Replaced | undefined, node: RingNode): Revision | "absent" {
  if (replaces === undefined) return "absent";
  return replaces.node === node.id ? replaces.revision : { version: replaces.revision.version };
}

const endOf = ({ successor }: SessionRecord): Ended => ({ kind: "ended", successor });

const foundOrEnded = (found: FoundRecord): ReadResult =>
  isTombstone(found.bytes) ? endOf(found.record) : found;

function newestOf(answers: readonly Answer[]): FoundRecord | undefined {
  let newest: FoundRecord | undefined;
  for (const answer of answers) {
    if (answer.kind !== "found") continue;
    if (newest === undefined || answer.revision.version > newest.revision.version) newest = answer;
  }
  return newest;
}
