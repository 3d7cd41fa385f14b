import type { Clock } from "../clock.js";
import { newWriteId, nextVersion, type RecordSealer, type SessionRecord } from "../session/record.js";
import { identify, type SessionIdentity } from "../session/session-id.js";
import { isTombstone } from "../storage/record-prefix.js";
import type { Revision } from "../storage/storage.js";
import type { Ring } from "./ring.js";
import type { RingNode } from "./ring-node.js";

/** What a notice board needs from outside. */
export interface NoticeBoardParts {
  readonly ring: Pick<Ring, "nodes" | "longestRecordLifeMs" | "fingerprint">;
  readonly sealer: RecordSealer;
  readonly clock: Clock;
  readonly options: { readonly keyPrefix: string };
}

/** What was read: the notices that are new; or "missed" where there were so many that some are gone. */
export type NewNotices = readonly string[] | "missed";

/** Together with a node's probe: as often as that. */
const readEveryMs = 500;
const mostNotices = 256;
/** Each lost round is one that another process won. */
const mostRounds = 10;
const attribute = "notices";

/** A notice, and the version of the record in which it stood first. */
type Notice = readonly [version: string, text: string];

interface Board {
  readonly notices: readonly Notice[];
  readonly version: string | undefined;
  readonly revision: Revision | "absent";
}

/**
 * Short notices from process to process, in a record of its own on every node: what one process knows of, and others must
 * know though it dies. Each is put on all nodes that can be reached; each process reads all nodes that it can reach, twice
 * a second. So a notice arrives within a second as long as there is one node that both reach.
 *
 * The record is sealed as a session's is, and holds the last 256 notices: who has missed some is told so.
 */
export class NoticeBoard {
  readonly #parts: NoticeBoardParts;
  readonly #onNotices: (notices: NewNotices) => void;
  readonly #identity: SessionIdentity;
  readonly #key: string;
  /** Up to which version this process has read each node's record. */
  readonly #readUpTo = new Map<RingNode, string>();
  #waiting = new Set<string>();
  #posting = false;
  #stopTimer: () => void = () => {};
  #stopped = false;

  /**
   * @param name which board: processes that use the same name read each other's notices
   * @param onNotices called with what is new; what this process posted is among it
   */
  constructor(name: string, parts: NoticeBoardParts, onNotices: (notices: NewNotices) => void) {
    this.#parts = parts;
    this.#onNotices = onNotices;
    this.#identity = identify(`notices ${name}`);
    this.#key = noticeKey(parts.options.keyPrefix, this.#identity);
  }

  /** Reads what is there now, and from now on what is new. Never rejects: what a node does not give, others do. */
  async start(): Promise<void> {
    await this.#readAll();
    this.#readLater();
  }

  /** Puts up a notice, in the background; again and again until a node takes it. Does nothing once stopped. */
  post(text: string): void {
    if (this.#stopped) return;
    this.#waiting.add(text);
    void this.#postWaiting();
  }

  stop(): void {
    this.#stopped = true;
    this.#stopTimer();
  }

  #readLater(): void {
    if (this.#stopped) return;
    this.#stopTimer = this.#parts.clock.after(readEveryMs, () => {
      void Promise.all([this.#readAll(), this.#postWaiting()]).finally(() => this.#readLater());
    });
  }

  async #readAll(): Promise<void> {
    await Promise.all(this.#reachable.map((node) => this.#read(node).catch(() => {}))); // its watch has noted it
  }

  async #read(node: RingNode): Promise<void> {
    const { notices, version } = await this.#boardOn(node);
    if (this.#stopped) return;
    const known = this.#readUpTo.get(node);
    if (version === undefined) return void this.#readUpTo.delete(node);
    if (version === known) return;
    this.#readUpTo.set(node, version);
    // A node that lost its record begins anew; what it lost, others have.
    if (known === undefined || version < known) return this.#onNotices(texts(notices));

    const [oldest] = notices;
    const isCut = oldest === undefined || oldest[0] > nextVersion(known);
    this.#onNotices(isCut ? "missed" : texts(notices.filter(([since]) => since > known)));
  }

  /** One round at a time: what comes up meanwhile is put up together. */
  async #postWaiting(): Promise<void> {
    if (this.#posting || this.#waiting.size === 0) return;
    this.#posting = true;
    try {
      while (this.#waiting.size > 0) {
        const batch = [...this.#waiting];
        const taken = await Promise.all(this.#reachable.map((node) => this.#postOn(node, batch)));
        if (!taken.includes(true)) return; // tried again with the next reading
        for (const text of batch) this.#waiting.delete(text);
      }
    } finally {
      this.#posting = false;
    }
  }

  async #postOn(node: RingNode, batch: readonly string[]): Promise<boolean> {
    try {
      for (let round = 0; round < mostRounds; round++) if (await this.#append(node, batch)) return true;
    } catch {
      // The node's watch has noted it; the notice stands on others.
    }
    return false;
  }

  async #append(node: RingNode, batch: readonly string[]): Promise<boolean> {
    const { ring, sealer } = this.#parts;
    const board = await this.#boardOn(node);
    // A version is left out where not all of it can be kept, so that readers notice.
    const last = batch.length > mostNotices ? nextVersion(board.version) : board.version;
    const version = nextVersion(last);
    const notices = [...board.notices, ...batch.map((text): Notice => [version, text])].slice(-mostNotices);
    const ttlMs = ring.longestRecordLifeMs;
    const bytes = sealer.seal(this.#identity, {
      ...emptyRecord,
      version,
      writeId: newWriteId(),
      idleTimeoutMs: ttlMs,
      ring: ring.fingerprint,
      table: new Map([[attribute, Buffer.from(JSON.stringify(notices))]]),
    });
    const saved = await node.run((storage) =>
      storage.save(this.#key, bytes, ttlMs, { expect: board.revision }),
    );
    return saved.kind === "stored";
  }

  async #boardOn(node: RingNode): Promise<Board> {
    const loaded = await node.run((storage) => storage.load(this.#key));
    if (loaded.kind !== "found" || isTombstone(loaded.record)) return emptyBoard;
    const { revision } = loaded;
    return { revision, version: revision.version, notices: this.#noticesIn(loaded.record) };
  }

  /** Nothing where the record is damaged, or sealed with a secret that this process does not have. */
  #noticesIn(bytes: Uint8Array): readonly Notice[] {
    try {
      const { table } = this.#parts.sealer.open(this.#identity, bytes);
      return JSON.parse(Buffer.from(table.get(attribute) ?? []).toString());
    } catch {
      return [];
    }
  }

  get #reachable(): readonly RingNode[] {
    return this.#parts.ring.nodes.filter((node) => node.reachable);
  }
}

/** The key of what is no session, beside those of sessions, and told from them at a glance. */
export const noticeKey = (prefix: string, { digest }: SessionIdentity): string =>
  `${prefix}:{notices:${digest}}`;

const emptyBoard: Board = { notices: [], version: undefined, revision: "absent" };

/** What is the same in all records that are no session's. */
export const emptyRecord: Omit<SessionRecord, "version" | "writeId" | "idleTimeoutMs" | "ring" | "table"> = {
  ancestors: [],
  codec: "",
  createdAtMs: 0,
  expiresAtMs: undefined,
  route: "",
  home: "",
};

const texts = (notices: readonly Notice[]): readonly string[] => notices.map(([, text]) => text);
