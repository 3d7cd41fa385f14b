import { MsmError } from "../errors.js";
import type { EventEmitter } from "../events.js";
import { isNewerFormat, type RecordSealer, type SessionRecord, type Successor } from "../session/record.js";
import { type SessionIdentity, storageKey } from "../session/session-id.js";
import { isTombstone, tombstoneVersion } from "../storage/record-prefix.js";
import type { Lease, LoadOptions, LoadResult, Revision } from "../storage/storage.js";
import type { Ring } from "./ring.js";
import type { RingNode } from "./ring-node.js";

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

/** The session was destroyed. */
export interface Ended {
  readonly kind: "ended";
  /** Where it goes on under a new id. */
  readonly successor: Successor | undefined;
}

/** Another holds the session's lease. */
export interface LockedRecord {
  readonly kind: "locked";
  readonly node: RingNode;
  /** The lease ends by itself by then, unless it is renewed. */
  readonly retryAfterMs: number;
}

/** A record as a node gave it. A class, see storage/answers.ts. */
class NodeRecord implements FoundRecord {
  readonly kind = "found";
  readonly node: RingNode;
  readonly revision: Revision;
  readonly bytes: Uint8Array;
  readonly record: SessionRecord;
  readonly isWanted: boolean;

  constructor(
    node: RingNode,
    revision: Revision,
    bytes: Uint8Array,
    record: SessionRecord,
    isWanted: boolean,
  ) {
    this.node = node;
    this.revision = revision;
    this.bytes = bytes;
    this.record = record;
    this.isWanted = isWanted;
  }
}

/** What a node is asked for with the record. */
interface AskOptions {
  /** Where this is no use of the session: what is left of its life, in milliseconds, and stays so. */
  readonly leftMs?: number | undefined;
  readonly lease?: Lease | undefined;
}

const noOptions: AskOptions = {};

/** What a storage is asked for. A class, see storage/answers.ts. */
class AskedFor implements LoadOptions {
  readonly lease: Lease | undefined;
  readonly renewTtlMs: number | undefined;

  constructor(lease: Lease | undefined, renewTtlMs: number | undefined) {
    this.lease = lease;
    this.renewTtlMs = renewTtlMs;
  }
}

/** What one node says of a session. */
export type Answer =
  | FoundRecord
  | LockedRecord
  | { readonly kind: "absent"; readonly node: RingNode }
  /** What the node has is no record, or of another session. */
  | { readonly kind: "spoilt"; readonly node: RingNode }
  | {
      readonly kind: "unknown";
      readonly node: RingNode;
      readonly error: MsmError;
      /** The node has a record of a later release: certainly newer than whatever another has. */
      readonly isNewerFormat?: true;
    };

/** What reading a node needs. */
export interface NodeReaderParts {
  readonly ring: Ring;
  readonly sealer: RecordSealer;
  readonly keyPrefix: string;
  /** The usual idle timeout: what a load renews a record with that names no other. */
  readonly idleTimeoutMs: number;
  readonly events: EventEmitter;
}

/** Asks one node for a session's record, and checks what it gives. */
export class NodeReader {
  readonly #parts: NodeReaderParts;
  /** Fingerprints of other rings that were warned of. */
  readonly #strangeRings = new Set<string>();

  constructor(parts: NodeReaderParts) {
    this.#parts = parts;
  }

  /** Under which key the nodes have a session. */
  key(identity: SessionIdentity): string {
    return storageKey(this.#parts.keyPrefix, identity);
  }

  /** Asks a node. Never rejects: what keeps it from answering is an answer. */
  ask(identity: SessionIdentity, node: RingNode, { leftMs, lease }: AskOptions = noOptions): Promise<Answer> {
    const renewTtlMs = leftMs === undefined ? this.#parts.idleTimeoutMs : undefined;
    const options = new AskedFor(lease, renewTtlMs);
    const key = this.key(identity);
    return node
      .run((storage) => storage.load(key, options))
      .then(
        (loaded) => this.#answerOf(identity, node, loaded),
        (thrown: unknown) => unknownFrom(node, thrown),
      );
  }

  #answerOf(identity: SessionIdentity, node: RingNode, loaded: LoadResult): Answer {
    try {
      if (loaded.kind === "locked") return { kind: "locked", node, retryAfterMs: loaded.retryAfterMs };
      if (loaded.kind === "absent") return { kind: "absent", node };
      return this.#opened(identity, node, loaded);
    } catch (thrown) {
      return unknownFrom(node, thrown);
    }
  }

  /** Asked again where the reply was lost: with the same token that is safe, and the lease is perhaps ours already. */
  async askForLease(identity: SessionIdentity, node: RingNode, lease: Lease): Promise<Answer> {
    const answer = await this.ask(identity, node, { lease });
    return answer.kind === "unknown" && node.reachable ? this.ask(identity, node, { lease }) : answer;
  }

  /**
   * As `ask`. A node that is leaving may have what no member has; but where it cannot be reached it counts as empty, as
   * whoever took it out knows what became of it.
   */
  async askHolder(identity: SessionIdentity, node: RingNode, leftMs?: number): Promise<Answer> {
    const answer = await this.ask(identity, node, { leftMs });
    if (answer.kind !== "unknown" || answer.isNewerFormat === true || !node.isLeaving) return answer;
    await node.getReady();
    return node.reachable ? this.ask(identity, node, { leftMs }) : { kind: "absent", node };
  }

  /** As `ask`, where trouble must not be taken for absence. */
  async inspect(identity: SessionIdentity, node: RingNode): Promise<FoundRecord | undefined> {
    const answer = await this.ask(identity, node);
    if (answer.kind === "unknown") throw answer.error;
    if (answer.kind === "spoilt")
      throw new MsmError("MSM_ERR_RECORD_SPOILT", `node ${node.id} has an unreadable record`);
    return answer.kind === "found" ? answer : undefined;
  }

  #opened(
    identity: SessionIdentity,
    node: RingNode,
    { record: bytes, revision, isWanted }: Extract<LoadResult, { kind: "found" }>,
  ): Answer {
    try {
      const record = this.#parts.sealer.open(identity, bytes);
      this.#compareRing(record);
      this.#parts.ring.noteRecordLife(record.idleTimeoutMs);
      return new NodeRecord(node, revision, bytes, record, isWanted === true);
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
}

const unknownFrom = (node: RingNode, thrown: unknown): Answer => ({
  kind: "unknown",
  node,
  error: MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE"),
});

/** How a tombstone ended its session. */
export const endOf = ({ successor }: SessionRecord): Ended => ({ kind: "ended", successor });

/** What a record that was found is worth. */
export const foundOrEnded = (found: FoundRecord): FoundRecord | Ended =>
  isTombstone(found.bytes) ? endOf(found.record) : found;

/** The highest version that was found. */
export function newestOf(answers: readonly Answer[]): FoundRecord | undefined {
  let newest: FoundRecord | undefined;
  for (const answer of answers) {
    if (answer.kind !== "found") continue;
    if (newest === undefined || answer.revision.version > newest.revision.version) newest = answer;
  }
  return newest;
}

/** Nothing was found. @throws MsmError where a node that may have the session did not say so */
export function checkAbsent(answers: readonly Answer[], members: readonly RingNode[]): void {
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
