import { MsmError } from "../errors.js";
import type { Ended, FoundRecord } from "../failover/node-reader.js";
import type { WriteRequest, WriteResult } from "../failover/record-writer.js";
import type { SessionLock } from "../locking/session-lock.js";
import type { Parts } from "../parts.js";
import {
  type AttributeTable,
  checkTableSize,
  differingNames,
  emptyTable,
  isSameTable,
} from "../session/attribute-table.js";
import { type Content, type LiveSession, StoredState } from "../session/live-session.js";
import type { EncodedConflict } from "../session/merge.js";
import { laterVersion, newWriteId, nextVersion, recordOverheadBytes } from "../session/record.js";
import type { SessionIdentity } from "../session/session-id.js";
import { goneError, storedState } from "./load.js";

/** What a save left behind. */
export type Saved =
  | SavedVersion
  /** The session was destroyed in the meantime, and stays so. */
  | Ended;

/** A version that is on its node. A class, see storage/answers.ts. */
class SavedVersion {
  readonly kind = "stored";
  readonly bytes: Uint8Array;
  readonly ttlMs: number;
  /** The attributes of the version that this one replaced. */
  readonly replaced: AttributeTable;

  constructor(bytes: Uint8Array, ttlMs: number, replaced: AttributeTable) {
    this.bytes = bytes;
    this.ttlMs = ttlMs;
    this.replaced = replaced;
  }
}

export interface SaveContext {
  /** The process that owns the session from now on; "" where none does. */
  readonly route: string;
  /** Whether this process holds the whole session, and may write it again where the nodes have lost it. */
  readonly recreate: boolean;
  /**
   * Whether changes of several requests are saved together: those that cannot stand are noted, see `LiveSession.refusal`,
   * and the others are saved. Default false: the save fails where one cannot.
   */
  readonly isShared?: boolean;
  /** What gives the lease back together with the save. */
  readonly lock?: SessionLock | undefined;
  /** For how long nobody has used the session: a save in the background does not prolong its life. Default 0. */
  readonly idleForMs?: number;
}

/** A session that meets a newer version at each of so many tries is under attack, or its handlers are. */
const mostMerges = 64;

/** After so many merges a save waits before it tries again, up to so long: many at once would meet each other for ever. */
const hastyMerges = 3;
const longestPauseMs = 50;

/**
 * Stores the session's newest state under the version check, and merges where another was faster.
 * @throws MsmError MSM_ERR_CONFLICT under `onConflict: "fail"`, MSM_ERR_SESSION_GONE, MSM_ERR_RECORD_TOO_LARGE, or the
 *   storage's where no node took it
 */
export async function save(live: LiveSession, context: SaveContext, parts: Parts): Promise<Saved> {
  for (let merges = 0; merges < mostMerges; merges++) {
    if (merges >= hastyMerges) await pauseAfter(merges, parts);
    const write = new SessionWrite(live, context, parts);
    // Whoever looks at the session meanwhile may find it there before its answer is here.
    live.noteUnderWay(write.writeId, write.table);
    let result: WriteResult;
    try {
      result = await parts.replicas.write(write);
      live.noteAnswered(write.writeId);
    } catch (error) {
      const refused = error instanceof MsmError && error.code === "MSM_ERR_STORAGE_REFUSED";
      live.noteAnswered(write.writeId);
      if (!refused) live.noteUncertain(write.writeId, write.table);
      throw error;
    }
    switch (result.kind) {
      case "stored":
        return noteStored(live, write, result, context, parts);
      case "ended":
        return result;
      case "gone":
        throw goneError();
      case "newer": {
        const refusal = mergeWith(result.found, live, parts);
        if (refusal !== undefined && !context.isShared) throw refusal;
      }
    }
  }
  throw new MsmError(
    "MSM_ERR_CONFLICT",
    `the session was changed by others ${mostMerges} times while it was saved`,
  );
}

/** One write of a session's newest state, as the session was when it began. */
class SessionWrite implements WriteRequest, Content {
  readonly identity: SessionIdentity;
  readonly changes: number;
  readonly version: string;
  readonly writeId = newWriteId();
  readonly ancestors: readonly string[];
  readonly table: AttributeTable;
  readonly idleTimeoutMs: number;
  readonly ttlMs: number;
  readonly node: string;
  readonly replaces: StoredState | undefined;
  readonly recreate: boolean;
  readonly unlock: string | undefined;
  readonly #live: LiveSession;
  readonly #route: string;
  readonly #parts: Parts;

  constructor(live: LiveSession, context: SaveContext, parts: Parts) {
    this.identity = live.identity;
    this.changes = live.changes;
    this.version = nextVersion(live.stored?.revision.version);
    this.ancestors = live.contained;
    this.table = live.table;
    this.idleTimeoutMs = live.idleTimeoutMs;
    this.ttlMs = timeToLiveMs(live, context, parts);
    this.node = homeOf(live, parts);
    this.replaces = live.stored;
    this.recreate = context.recreate;
    this.unlock = context.lock?.tokenFor(this.node);
    this.#live = live;
    this.#route = context.route;
    this.#parts = parts;
  }

  /** A node that took it without saying so has it under a lower version, and will get this one. */
  sealFor(home: string, failed: number): Uint8Array {
    const version = failed === 0 ? this.version : laterVersion(this.version, failed);
    return seal(this.#live, this, version, home, this.#route, this.#parts);
  }

  contains(writeId: string): boolean {
    return this.ancestors.includes(writeId);
  }
}

function noteStored(
  live: LiveSession,
  write: SessionWrite,
  { node, revision, bytes, gaveBack }: Extract<WriteResult, { kind: "stored" }>,
  context: SaveContext,
  parts: Parts,
): Saved {
  const from = live.node;
  const { replaces, ttlMs } = write;
  if (gaveBack) context.lock?.noteGivenBack();
  live.markSaved(new StoredState(node.id, revision, write), write.changes);
  tell(live, replaces === undefined, from, parts);
  // What is left behind there must not be taken for the newest when this node is away.
  if (replaces !== undefined && from !== live.node) live.noteLookedForOn(from);
  // The cookie that is out may be all that is left to find the session by.
  for (const other of live.lookedForOn) {
    if (other !== live.node) parts.replicas.follow(other, live.identity, bytes, ttlMs);
  }
  return new SavedVersion(bytes, ttlMs, replaces?.table ?? emptyTable);
}

/**
 * Puts what was last stored where it should be now, as the very version that it was: its node went down, or has lost
 * it. Does not count as a change, so a process that lost the session to another meanwhile cannot win with it.
 * @returns whether the nodes have this version, or another that beats it
 * @throws MsmError of the storage where no node took it
 */
export async function restore(
  live: LiveSession,
  context: SaveContext,
  parts: Parts,
): Promise<{ readonly kind: "stored" | "newer" } | Ended> {
  const { stored } = live;
  if (stored === undefined) return { kind: "stored" };
  const { revision, ...version } = stored;
  const result = await parts.replicas.write({
    identity: live.identity,
    sealFor: (home) => seal(live, version, revision.version, home, context.route, parts),
    ttlMs: timeToLiveMs(live, context, parts),
    node: live.node,
    replaces: stored,
    contains: containedIn(live),
    recreate: true,
  });
  // Neither taken nor there: what is in memory is all there is of the session, and must not be given up for it.
  if (result.kind === "gone") throw new MsmError("MSM_ERR_SESSION_GONE", "no node kept the session's backup");
  if (result.kind !== "stored") return result;
  const from = live.node;
  if (live.stored === stored) live.moved(result.node.id, result.revision);
  tell(live, false, from, parts);
  return result;
}

/**
 * Takes another's newer version into a session: what only one side changed is that side's, for the rest see
 * `onConflict`. The session then counts as loaded from that version.
 * @param knownBase the last state that both sides came of; default: what the session knows to be
 * @returns where the other's values stand against changes of this session, which are given up whole: MSM_ERR_CONFLICT
 */
export function mergeWith(
  found: FoundRecord,
  live: LiveSession,
  parts: Parts,
  knownBase?: AttributeTable,
): MsmError | undefined {
  const theirs = storedState(found, parts);
  const base = knownBase ?? live.commonWith(theirs);
  const mine = live.table;
  const baseIdleTimeoutMs = live.stored?.idleTimeoutMs ?? parts.options.idleTimeoutMs;
  const { merged, refusal } = mergedTable(base, mine, theirs.table, live, parts);
  live.takeIn(theirs);
  if (live.idleTimeoutMs === baseIdleTimeoutMs) live.idleTimeoutMs = theirs.idleTimeoutMs;
  live.rebase(merged);
  const isMerge = parts.options.saves === "merged" && !isSameTable(base, mine);
  if (isMerge) {
    const attributes = differingNames(base, theirs.table);
    parts.events.emit("merged", { session: live.identity.name, attributes });
  }
  return refusal;
}

function mergedTable(
  base: AttributeTable,
  mine: AttributeTable,
  theirs: AttributeTable,
  live: LiveSession,
  { merge }: Parts,
): { readonly merged: AttributeTable; readonly refusal: MsmError | undefined } {
  const refused = new Map<string, MsmError>();
  const resolve = (conflict: EncodedConflict) => {
    try {
      return live.resolve(conflict);
    } catch (error) {
      refused.set(conflict.name, MsmError.from(error, "MSM_ERR_CONFLICT"));
      return conflict.theirs;
    }
  };
  const merged = new Map(merge(base, mine, theirs, resolve));
  const [refusal] = refused.values();
  if (refusal === undefined) return { merged, refusal };

  for (const name of live.refuse(refused.keys(), refusal)) {
    const bytes = theirs.get(name);
    if (bytes === undefined) merged.delete(name);
    else merged.set(name, bytes);
  }
  return { merged, refusal };
}

/**
 * Where a session is to be saved: on the node that the client's cookie names, where others look for it. One that went on
 * elsewhere, because that node missed a question or was down, is back there with its next save.
 */
function homeOf({ node, announcedNode }: LiveSession, { ring }: Parts): string {
  const announced = announcedNode === undefined ? undefined : ring.node(announcedNode);
  return announced?.reachable === true && !announced.failoverOnly ? announced.id : node;
}

/** Waits for a random time, longer from one merge to the next, so that saves that met once do not do so again. */
function pauseAfter(merges: number, { clock, random }: Parts): Promise<void> {
  const mostMs = Math.min(2 ** (merges - hastyMerges), longestPauseMs);
  return new Promise((resolve) => void clock.after(random() * mostMs, resolve));
}

/** Tells of a write whether the session, as it is now, contains its version. */
export function containedIn({ contained }: LiveSession): (writeId: string) => boolean {
  return (writeId) => contained.includes(writeId);
}

/** How long the nodes shall keep the record: what is left of the idle timeout, or of the absolute one. */
function timeToLiveMs(live: LiveSession, { idleForMs = 0 }: SaveContext, { clock }: Parts): number {
  const leftMs = live.expiresAtMs === undefined ? Number.POSITIVE_INFINITY : live.expiresAtMs - clock.now();
  return Math.max(1, Math.min(live.idleTimeoutMs - idleForMs, leftMs));
}

function seal(
  live: LiveSession,
  { writeId, ancestors, table, idleTimeoutMs }: Content,
  version: string,
  home: string,
  route: string,
  parts: Parts,
): Uint8Array {
  // Folding has checked it, but a merge may have made it too large since.
  checkTableSize(table, parts.options.maxRecordBytes - recordOverheadBytes);
  return parts.sealer.seal(live.identity, {
    version,
    writeId,
    ancestors,
    table,
    idleTimeoutMs,
    codec: parts.codecs.current.name,
    createdAtMs: live.createdAtMs,
    expiresAtMs: live.expiresAtMs,
    route,
    home,
    ring: parts.ring.fingerprint,
  });
}

function tell(live: LiveSession, isNew: boolean, from: string, { events }: Parts): void {
  const session = live.identity.name;
  if (isNew) events.emit("created", { session, node: live.node });
  else if (live.node !== from) events.emit("relocated", { session, from, to: live.node });
}
