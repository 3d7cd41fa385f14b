import { MsmError } from "../errors.js";
import { laterVersion, mostAncestors, type SessionRecord } from "../session/record.js";
import type { SessionIdentity } from "../session/session-id.js";
import { isTombstone, versionOf, writeIdOf } from "../storage/record-prefix.js";
import type { Revision, SaveOptions, SaveResult } from "../storage/storage.js";
import type { MissedRecords } from "./missed-records.js";
import {
  checkAbsent,
  type Ended,
  endOf,
  type FoundRecord,
  type NodeReader,
  newestOf,
} from "./node-reader.js";
import type { Ring } from "./ring.js";
import type { RingNode } from "./ring-node.js";

/** What became of a write. */
export type WriteResult =
  | Written
  /** Another wrote a version that this one does not contain. */
  | { readonly kind: "newer"; readonly found: FoundRecord }
  | Ended
  /** No node has the session any more: it expired, was evicted, or all nodes that had it started empty. */
  | { readonly kind: "gone" };

/** That a record is on its node. A class, see storage/answers.ts. */
class Written {
  readonly kind = "stored";
  readonly node: RingNode;
  readonly revision: Revision;
  /** What was written. */
  readonly bytes: Uint8Array;
  /** Whether the lease was given back with it. */
  readonly gaveBack: boolean;

  constructor(node: RingNode, revision: Revision, bytes: Uint8Array, gaveBack: boolean) {
    this.node = node;
    this.revision = revision;
    this.bytes = bytes;
    this.gaveBack = gaveBack;
  }
}

/** What becomes of a write is up to what the node has; and whether a lease is given back. A class, see storage/answers.ts. */
class Terms implements SaveOptions {
  readonly expect: SaveOptions["expect"];
  readonly unlock: string | undefined;

  constructor(expect: SaveOptions["expect"], unlock: string | undefined) {
    this.expect = expect;
    this.unlock = unlock;
  }
}

/** What became of a copy. */
export type CopyResult =
  | { readonly kind: "copied" }
  /** No other node can be reached. */
  | { readonly kind: "alone" }
  | { readonly kind: "newer"; readonly found: FoundRecord }
  | Ended;

/** The version that a write replaces. */
interface Replaced {
  readonly revision: Revision;
  /** Id of the node that it is known to be on. */
  readonly node: string;
}

/** A record that is to be written. */
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
  /** Whether the version of a write is one that this one contains. */
  contains(writeId: string): boolean;
  /** Whether a record that is on no node any more is written again: only who holds the whole session may say so. */
  readonly recreate: boolean;
  /** Token of the lease on `node` that is given back with the write. */
  readonly unlock?: string | undefined;
}

/** What writing needs. */
export interface RecordWriterParts {
  readonly ring: Ring;
  readonly reader: NodeReader;
  readonly missed: MissedRecords;
}

/** Writes a session's record to the node that it goes on with, and its copy to the next. */
export class RecordWriter {
  readonly #parts: RecordWriterParts;
  readonly #reader: NodeReader;

  constructor(parts: RecordWriterParts) {
    this.#parts = parts;
    this.#reader = parts.reader;
  }

  /**
   * Writes a record that must replace the revision it was made from. Where its node fails, the next one takes it, if
   * that has nothing newer.
   * @throws MsmError of the storage where no node took it; the write may have been applied all the same
   */
  write(request: WriteRequest): Promise<WriteResult> {
    const { ring } = this.#parts;
    ring.noteRecordLife(request.ttlMs);
    const home = ring.node(request.node);
    const expect = home === undefined ? undefined : knownOn(home, request);
    const isUsual = home !== undefined && expect !== undefined && ring.targets(request.node)[0] === home;
    return isUsual ? this.#writeWhereKnown(home, request, expect) : this.#writeWherePossible(request, []);
  }

  /** What nearly every write is: its node can be reached, and has what the write replaces. */
  #writeWhereKnown(
    home: RingNode,
    request: WriteRequest,
    expect: SaveOptions["expect"],
  ): Promise<WriteResult> {
    const goOn = (thrown: unknown) =>
      this.#writeWherePossible(request, [home], MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE"));
    let bytes: Uint8Array;
    try {
      bytes = request.sealFor(home.id, 0);
    } catch (thrown) {
      return goOn(thrown);
    }
    return this.#save(home, request, bytes, expect).then((saved) => {
      if (saved.kind === "stored")
        return this.#stored(home, request.identity, bytes, saved.revision, request.unlock !== undefined);
      return this.#writeHome(home, request, bytes, saved).catch(goOn);
    }, goOn);
  }

  /** @param failed nodes that were tried in vain, for the reason of `trouble` */
  async #writeWherePossible(
    request: WriteRequest,
    failed: RingNode[],
    trouble?: MsmError,
  ): Promise<WriteResult> {
    const home = this.#parts.ring.node(request.node);
    let lastTrouble = trouble;
    for (const node of this.#parts.ring.targets(request.node)) {
      if (failed.includes(node)) continue;
      try {
        const bytes = request.sealFor(node.id, failed.length);
        if (node === home) return await this.#writeHome(node, request, bytes);
        const news = await this.#newsBeside([node, ...failed], request);
        if (news !== undefined) return this.#outcomeOf(news, bytes);
        const result = await this.#writeElsewhere(node, request, bytes);
        // Cookies that are out lead there still, and may be all that is left to find the session by.
        if (result.kind === "stored" && home !== undefined) {
          const { identity, ttlMs } = request;
          this.#keepFor(home, { identity, bytes, ttlMs });
        }
        return result;
      } catch (thrown) {
        lastTrouble = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
        failed.push(node);
      }
    }
    throw lastTrouble ?? new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "no storage node can be reached");
  }

  /** Puts a copy of what was written to `home` on the next node that can be reached. */
  async copy(identity: SessionIdentity, home: string, bytes: Uint8Array, ttlMs: number): Promise<CopyResult> {
    const { ring } = this.#parts;
    const homeNode = ring.node(home);
    if (homeNode !== undefined && ring.nodes.length === 1) return alone;
    const rightful = ring.candidates(home)[1];
    for (const node of ring.targets(home)) {
      if (node === homeNode) continue;
      try {
        const written = await node.run((storage) =>
          storage.putIfNewer(this.#reader.key(identity), bytes, ttlMs),
        );
        if (!written) return await this.#compareCopy(identity, bytes, node, homeNode);
        if (node !== rightful) this.#keepFor(rightful, { identity, bytes, ttlMs });
        return { kind: "copied" };
      } catch {
        // The node's watch has noted it. A copy is as good on the next one.
      }
    }
    this.#keepFor(rightful, { identity, bytes, ttlMs });
    return alone;
  }

  /** Sees to it, in the background, that the node which a cookie names has a session's newest record as well. */
  follow(node: string, identity: SessionIdentity, bytes: Uint8Array, ttlMs: number): void {
    const { ring } = this.#parts;
    // Other processes may not know yet that a node is leaving.
    const named = ring.node(node) ?? ring.leaving.find(({ id }) => id === node);
    this.#keepFor(named, { identity, bytes, ttlMs });
  }

  #save(
    node: RingNode,
    { identity, ttlMs, unlock }: WriteRequest,
    bytes: Uint8Array,
    expect: SaveOptions["expect"],
  ): Promise<SaveResult> {
    const key = this.#reader.key(identity);
    return node.run((storage) => storage.save(key, bytes, ttlMs, new Terms(expect, unlock)));
  }

  /** @param refused why the node did not take what it was known to have; default: it was not asked yet */
  async #writeHome(
    node: RingNode,
    request: WriteRequest,
    bytes: Uint8Array,
    refused?: SaveResult,
  ): Promise<WriteResult> {
    const { identity } = request;
    let saved = refused;
    if (saved === undefined) {
      let expect = knownOn(node, request);
      if (expect === undefined) {
        // The number of a version says nothing about another node: two processes may have given it to two of them.
        const there = await this.#reader.inspect(identity, node);
        if (there !== undefined && isNews(there, request)) return this.#outcomeOf(there, bytes);
        expect = there?.revision ?? { version: request.replaces!.revision.version };
      }
      saved = await this.#save(node, request, bytes, expect);
    }
    if (saved.kind === "stored")
      return this.#stored(node, identity, bytes, saved.revision, request.unlock !== undefined);
    if (saved.kind === "gone") return this.#writeAgain(node, request, bytes);

    const found = await this.#reader.inspect(identity, node);
    if (found === undefined) return this.#writeAgain(node, request, bytes);
    return this.#writeOver(found, request, bytes);
  }

  /**
   * A node did not take a write, as it has another version. Where that is one that the session comes of, it is no news:
   * the node has slept through a write, which may have been made up for this very moment.
   */
  async #writeOver(found: FoundRecord, request: WriteRequest, bytes: Uint8Array): Promise<WriteResult> {
    return isNews(found, request)
      ? this.#outcomeOf(found, bytes)
      : this.#writeElsewhere(found.node, request, bytes);
  }

  /** The record has left its node: the others may know why. */
  async #writeAgain(node: RingNode, request: WriteRequest, bytes: Uint8Array): Promise<WriteResult> {
    const { identity, ttlMs } = request;
    const members = this.#parts.ring.nodes;
    const others = this.#parts.ring.holders(node.id).filter((other) => other !== node);
    const answers = await Promise.all(
      others.filter((other) => other.reachable).map((other) => this.#reader.askHolder(identity, other)),
    );
    const newest = newestOf(answers);
    const overtaken = request.replaces?.revision.version ?? "";
    const isNewer = (version: string) => version >= versionOf(bytes) || version > overtaken;
    // What only a node has that is leaving is yet to be put on a member.
    const isLeftBehind = newest?.node.isLeaving === true && newest.record.writeId === writeIdOf(bytes);
    if (newest !== undefined && !isLeftBehind && isNewer(newest.revision.version))
      return this.#outcomeOf(newest, bytes);
    if (newest === undefined && !request.recreate) {
      checkAbsent([...answers, { kind: "absent", node }], members);
      return { kind: "gone" };
    }
    const again = await node.run((storage) =>
      storage.save(this.#reader.key(identity), bytes, ttlMs, { expect: "absent" }),
    );
    if (again.kind === "stored") return this.#stored(node, identity, bytes, again.revision);
    const found = await this.#reader.inspect(identity, node);
    return found === undefined ? { kind: "gone" } : this.#writeOver(found, request, bytes);
  }

  async #writeElsewhere(node: RingNode, request: WriteRequest, bytes: Uint8Array): Promise<WriteResult> {
    const { identity, ttlMs, replaces } = request;
    for (let tries = 0; tries < mostTries; tries++) {
      const there = replaces && (await this.#reader.inspect(identity, node));
      if (there !== undefined && isNews(there, request)) return this.#outcomeOf(there, bytes);
      // Over what was looked at only: another process may be writing here as well, with any number of a version.
      const saved = await node.run((storage) =>
        storage.save(this.#reader.key(identity), bytes, ttlMs, { expect: there?.revision ?? "absent" }),
      );
      if (saved.kind === "stored") return this.#stored(node, identity, bytes, saved.revision);
      const found = await this.#reader.inspect(identity, node);
      if (found !== undefined && isNews(found, request)) return this.#outcomeOf(found, bytes);
    }
    throw new MsmError("MSM_ERR_STORAGE_REFUSED", `node ${node.id} neither took nor has the record`);
  }

  /**
   * A write leaves the node of its session: others may have it elsewhere, with that node or without, and put its copy where
   * this write does not go.
   * @param asked nodes that were asked already, or are about to be
   * @returns the newest record on the other nodes, where it is one that the write does not contain
   */
  async #newsBeside(asked: readonly RingNode[], request: WriteRequest): Promise<FoundRecord | undefined> {
    if (request.replaces === undefined) return undefined;
    const { identity } = request;
    const others = this.#parts.ring
      .candidates(request.node)
      .filter((other) => other.reachable && !asked.includes(other));
    const answers = await Promise.all(others.map((other) => this.#reader.ask(identity, other)));
    return newestOf(answers.filter((answer) => answer.kind === "found" && isNews(answer, request)));
  }

  /** A node has this version or a newer one. Ours, whose reply was lost, is stored; another's must be merged. */
  #outcomeOf(found: FoundRecord, bytes: Uint8Array): WriteResult {
    if (found.record.writeId === writeIdOf(bytes))
      return new Written(found.node, found.revision, bytes, false);
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
    const key = this.#reader.key(identity);
    node.confirm(key);
    this.#parts.missed.supersede(node, key, bytes);
    return new Written(node, revision, bytes, gaveBack);
  }

  /**
   * The copy's node had this version or a newer one. Where that contains ours, or the primary has gone on from ours in the
   * meantime, its later writer has made the copy, or will. Else two writes went to different nodes, and perhaps one of
   * them over the other by now.
   */
  async #compareCopy(
    identity: SessionIdentity,
    bytes: Uint8Array,
    node: RingNode,
    home: RingNode | undefined,
  ): Promise<CopyResult> {
    const copy = await this.#reader.inspect(identity, node);
    if (copy === undefined || isWriteIn(copy.record, bytes)) return { kind: "copied" };
    if (isTombstone(copy.bytes)) return endOf(copy.record);
    const primary = home && (await this.#reader.ask(identity, home));
    const isSuperseded =
      primary?.kind === "found" &&
      primary.record.writeId !== writeIdOf(bytes) &&
      (isWriteIn(primary.record, bytes) || isFarBehind(bytes, primary.record));
    return isSuperseded ? { kind: "copied" } : { kind: "newer", found: copy };
  }

  #keepFor(
    node: RingNode | undefined,
    { identity, bytes, ttlMs }: Pick<WriteRequest, "identity" | "ttlMs"> & { readonly bytes: Uint8Array },
  ): void {
    if (node !== undefined && !node.failoverOnly)
      this.#parts.missed.keep(node, this.#reader.key(identity), bytes, ttlMs);
  }
}

const alone: CopyResult = { kind: "alone" };

/** A record changes under the hands of whoever writes it; more often than that it does not. */
const mostTries = 3;

/** True where a record is neither older than the version that a write replaces, nor one that the write contains. */
const isNews = (found: FoundRecord, request: WriteRequest): boolean =>
  request.replaces === undefined ||
  (found.revision.version >= request.replaces.revision.version && !request.contains(found.record.writeId));

/** Whether a version is this write, or says that it contains it. */
const isWriteIn = ({ writeId, ancestors }: SessionRecord, bytes: Uint8Array): boolean =>
  writeId === writeIdOf(bytes) || ancestors.includes(writeIdOf(bytes));

/** Whether a version is so much later than a write that it need not name it any more. Always so for a tombstone. */
const isFarBehind = (bytes: Uint8Array, later: SessionRecord): boolean =>
  later.version > laterVersion(versionOf(bytes), mostAncestors);

/** What a node is known to have; undefined where it has to be looked at first. */
function knownOn(node: RingNode, { replaces }: WriteRequest): Revision | "absent" | undefined {
  if (replaces === undefined) return "absent";
  return replaces.node === node.id ? replaces.revision : undefined;
}
