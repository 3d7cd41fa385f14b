import { MsmError } from "../errors.js";
import type { EventEmitter } from "../events.js";
import type { RecordSealer } from "../session/record.js";
import type { SessionIdentity } from "../session/session-id.js";
import { isTombstone } from "../storage/record-prefix.js";
import type { Lease } from "../storage/storage.js";
import type { MissedRecords } from "./missed-records.js";
import {
  type Answer,
  checkAbsent,
  type Ended,
  endOf,
  type FoundRecord,
  foundOrEnded,
  type LockedRecord,
  type NodeReader,
  newestOf,
} from "./node-reader.js";
import type { Ring } from "./ring.js";
import type { RingNode } from "./ring-node.js";
import type { SharedSuspicion } from "./shared-suspicion.js";

/**
 * Where a session is said to be: the id of the node, from a cookie; or, where there is no cookie, a guess, which decides
 * nothing where another node has a newer record.
 */
export type Hint = string | { readonly guess: string };

/** A session's newest record, or why there is none. */
export type ReadResult = FoundRecord | "absent" | Ended;

/** What a search needs. */
export interface RecordSearchParts {
  readonly ring: Ring;
  readonly sealer: RecordSealer;
  readonly events: EventEmitter;
  readonly reader: NodeReader;
  readonly missed: MissedRecords;
  readonly suspicion: SharedSuspicion;
}

/**
 * Finds a session's newest record on the ring.
 *
 * The hinted node is asked alone while it can be believed. Where it has nothing, is down, suspect or spoilt, all that can
 * be reached are asked, the highest version wins, and the node that the session goes on with gets it. "Absent" is an
 * answer only when every node that may hold a copy gave it.
 */
export class RecordSearch {
  readonly #parts: RecordSearchParts;
  readonly #reader: NodeReader;

  constructor(parts: RecordSearchParts) {
    this.#parts = parts;
    this.#reader = parts.reader;
  }

  /**
   * Finds a session's newest record, and lets its time to live start anew.
   * @param leftMs where this is no use of the session: what is left of its life, and stays so
   * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where it cannot be known whether there is one, or which is the newest
   */
  read(identity: SessionIdentity, hint: Hint, leftMs?: number): Promise<ReadResult> {
    const { starting } = this.#parts.suspicion;
    return starting === undefined
      ? this.#read(identity, hint, leftMs)
      : starting.then(() => this.#read(identity, hint, leftMs));
  }

  #read(identity: SessionIdentity, hint: Hint, leftMs: number | undefined): Promise<ReadResult> {
    const key = this.#reader.key(identity);
    const missed = this.#missedEnd(identity, key);
    if (missed !== undefined) return Promise.resolve(missed);
    const trusted = this.#trusted(key, hint);
    if (trusted === undefined) return this.#readAll(identity, hint, undefined, leftMs);
    return this.#reader
      .ask(identity, trusted, { leftMs })
      .then((answer) =>
        answer.kind === "found" && this.#isBelieved(answer, key)
          ? foundOrEnded(answer)
          : this.#readAll(identity, hint, answer, leftMs),
      );
  }

  /**
   * As `read`, together with the session's lease, which is on the node that the session goes on with: in one round trip
   * where that is the hinted one. Nothing is locked where there is no session.
   * @throws MsmError as `read`; what was taken is then given back
   */
  async lock(identity: SessionIdentity, hint: Hint, lease: Lease): Promise<ReadResult | LockedRecord> {
    if (this.#parts.suspicion.starting !== undefined) await this.#parts.suspicion.starting;
    const key = this.#reader.key(identity);
    const missed = this.#missedEnd(identity, key);
    if (missed !== undefined) return missed;
    const trusted = this.#trusted(key, hint);
    const answer = trusted && (await this.#reader.askForLease(identity, trusted, lease));
    if (answer?.kind === "found" && this.#isBelieved(answer, key)) return foundOrEnded(answer);
    if (answer?.kind === "locked") return answer;

    // It gave the lease, or may have: also where it was asked in vain, or has only a damaged record.
    if (trusted !== undefined && answer?.kind !== "absent") this.#unlockSoon(trusted, identity, lease.token);
    const found = await this.#readAll(identity, hint, answer);
    return found === "absent" || found.kind === "ended" ? found : this.#lockFound(identity, found, lease);
  }

  /** The end of the session, where this process knows of it and a node does not yet. */
  #missedEnd(identity: SessionIdentity, key: string): Ended | undefined {
    const tombstone = this.#parts.missed.tombstone(key);
    return tombstone && endOf(this.#parts.sealer.open(identity, tombstone));
  }

  /** The node that the hint names, where it can be asked alone. */
  #trusted(key: string, hint: Hint): RingNode | undefined {
    if (typeof hint !== "string") return undefined;
    const hinted = this.#parts.ring.node(hint);
    return hinted?.reachable === true && !hinted.isSuspect(key) ? hinted : undefined;
  }

  /** The node that was trusted may have restarted since: then its very answer told of it. */
  #isBelieved({ node }: Answer, key: string): boolean {
    return !node.isSuspect(key);
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
    const suspect = this.#suspect(hint, identity);
    const members = ring.nodes; // whoever joins meanwhile is none of those that may have it
    const others = ring.holders(hint).filter((node) => node.reachable && node !== asked?.node);
    const answers = await Promise.all(others.map((node) => this.#reader.askHolder(identity, node, leftMs)));
    if (asked !== undefined) answers.unshift(asked);
    const newest = newestOf(answers);
    if (newest === undefined) {
      checkAbsent(answers, members);
      return "absent";
    }
    this.#checkCompared(answers, suspect ?? this.#suspect(hint, identity));
    const home = typeof hinted === "string" ? hinted : newest.node.id;
    return this.#settle(identity, home, newest, answers, leftMs);
  }

  /** The node that the hint names, where what it has must be compared. */
  #suspect(hint: string, identity: SessionIdentity): RingNode | undefined {
    const hinted = this.#parts.ring.node(hint);
    return hinted?.isSuspect(this.#reader.key(identity)) === true ? hinted : undefined;
  }

  /** The session goes on with a node that was asked for the record alone. */
  async #lockFound(
    identity: SessionIdentity,
    found: FoundRecord,
    lease: Lease,
  ): Promise<ReadResult | LockedRecord> {
    const answer = await this.#reader.askForLease(identity, found.node, lease);
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
    node.run((storage) => storage.unlock(this.#reader.key(identity), token)).catch(() => {});
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
    // A damaged record is in the way of what is written there until it expires, and of the lease.
    const isSound = (node: RingNode) =>
      answers.some((answer) => answer.node === node && answer.kind !== "unknown" && answer.kind !== "spoilt");
    const home = this.#parts.ring.targets(hint).find(isSound) ?? newest.node;
    const ttlMs = leftMs ?? newest.record.idleTimeoutMs;
    const behind = answered.filter((node) => node !== newest.node && this.#isBehind(node, newest, answers));
    // A tombstone goes to all that lack it; a session to the one node that it goes on with, its copy follows its use.
    const wanting = isTombstone(newest.bytes) ? behind : behind.filter((node) => node === home);
    const taken = await Promise.all(wanting.map((node) => this.#repair(identity, node, newest.bytes, ttlMs)));
    if (isTombstone(newest.bytes)) return endOf(newest.record);

    const settled = home === newest.node || !behind.includes(home) || taken[0] === true ? home : newest.node;
    if (this.#parts.ring.nodes.every((node) => answered.includes(node)))
      settled.confirm(this.#reader.key(identity));
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
      const written = await node.run((storage) =>
        storage.putIfNewer(this.#reader.key(identity), bytes, ttlMs),
      );
      if (written) this.#repaired(identity, node);
      return true;
    } catch {
      return false; // the session stays where it was found
    }
  }

  #repaired(identity: SessionIdentity, node: RingNode): void {
    this.#parts.events.emit("repaired", { session: identity.name, node: node.id });
  }

  /**
   * A suspect node's record counts for nothing while a node that may have a newer one is asked in vain. Where it is the
   * suspect itself that does not answer, what another has counts, as it would if the node were known to be down.
   */
  #checkCompared(answers: readonly Answer[], suspect: RingNode | undefined): void {
    const isCompared = (node: RingNode) => suspect !== undefined && node !== suspect;
    const silent = answers.find(
      (answer) => answer.kind === "unknown" && (isCompared(answer.node) || answer.isNewerFormat),
    );
    if (silent?.kind !== "unknown") return;
    throw new MsmError(
      "MSM_ERR_STORAGE_UNAVAILABLE",
      `node ${silent.node.id} may have a newer version of the session, which cannot be read now`,
      { cause: silent.error },
    );
  }
}
