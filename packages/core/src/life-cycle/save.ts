import { MsmError } from "../errors.js";
import type { Ended, FoundRecord } from "../failover/node-reader.js";
import type { Replaced } from "../failover/record-writer.js";
import type { SessionLock } from "../locking/session-lock.js";
import type { Parts } from "../parts.js";
import {
  type AttributeTable,
  checkTableSize,
  differingNames,
  emptyTable,
  isSameTable,
} from "../session/attribute-table.js";
import type { LiveSession } from "../session/live-session.js";
import type { EncodedConflict } from "../session/merge.js";
import { laterVersion, newWriteId, nextVersion, recordOverheadBytes } from "../session/record.js";
import { goneError, storedState } from "./load.js";

/** What a save left behind. */
export type Saved =
  | {
      readonly kind: "stored";
      readonly bytes: Uint8Array;
      readonly ttlMs: number;
      /** The attributes of the version that this one replaced. */
      readonly replaced: AttributeTable;
    }
  /** The session was destroyed in the meantime, and stays so. */
  | Ended;

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
    const before = live.stored;
    const { changes, table, idleTimeoutMs, contained: ancestors } = live;
    const writeId = newWriteId();
    const version = {
      version: nextVersion(before?.revision.version),
      writeId,
      ancestors,
      table,
      idleTimeoutMs,
    };
    // A node that took it without saying so has it under a lower version, and will get this one.
    const sealFor = (home: string, failed: number) =>
      seal(live, later(version, failed), home, context, parts);
    const ttlMs = timeToLiveMs(live, context, parts);
    const home = homeOf(live, parts);
    const unlock = context.lock?.tokenFor(home);
    // Whoever looks at the session meanwhile may find it there before its answer is here.
    live.noteUnderWay(writeId, table);
    const result = await parts.replicas
      .write({
        identity: live.identity,
        sealFor,
        ttlMs,
        node: home,
        replaces: replacedBy(live),
        recreate: context.recreate,
        unlock,
      })
      .catch((error: unknown) => {
        const refused = error instanceof MsmError && error.code === "MSM_ERR_STORAGE_REFUSED";
        live.noteAnswered(writeId);
        if (!refused) live.noteUncertain(writeId, table);
        throw error;
      });
    live.noteAnswered(writeId);

    switch (result.kind) {
      case "stored": {
        const from = live.node;
        const { bytes } = result;
        if (result.gaveBack) context.lock?.noteGivenBack();
        const { node, revision } = result;
        const state = { writeId, ancestors, table, idleTimeoutMs, node: node.id, revision };
        live.markSaved(state, changes);
        tell(live, before === undefined, from, parts);
        // What is left behind there must not be taken for the newest when this node is away.
        if (before !== undefined && from !== live.node) live.noteLookedForOn(from);
        // The cookie that is out may be all that is left to find the session by.
        for (const node of live.lookedForOn) {
          if (node !== live.node) parts.replicas.follow(node, live.identity, bytes, ttlMs);
        }
        return { kind: "stored", bytes, ttlMs, replaced: before?.table ?? emptyTable };
      }
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
  const version = { ...stored, version: stored.revision.version };
  const result = await parts.replicas.write({
    identity: live.identity,
    sealFor: (home) => seal(live, version, home, context, parts),
    ttlMs: timeToLiveMs(live, context, parts),
    node: live.node,
    replaces: replacedBy(live),
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

/** The version that a write of this session replaces. */
export function replacedBy({ stored, contained }: LiveSession): Replaced | undefined {
  return stored && { ...stored, contains: (writeId) => contained.includes(writeId) };
}

/** How long the nodes shall keep the record: what is left of the idle timeout, or of the absolute one. */
function timeToLiveMs(live: LiveSession, { idleForMs = 0 }: SaveContext, { clock }: Parts): number {
  const leftMs = live.expiresAtMs === undefined ? Number.POSITIVE_INFINITY : live.expiresAtMs - clock.now();
  return Math.max(1, Math.min(live.idleTimeoutMs - idleForMs, leftMs));
}

interface Version {
  readonly version: string;
  readonly writeId: string;
  readonly ancestors: readonly string[];
  readonly table: AttributeTable;
  readonly idleTimeoutMs: number;
}

const later = (version: Version, count: number): Version =>
  count === 0 ? version : { ...version, version: laterVersion(version.version, count) };

function seal(
  live: LiveSession,
  version: Version,
  home: string,
  { route }: SaveContext,
  parts: Parts,
): Uint8Array {
  // Folding has checked it, but a merge may have made it too large since.
  checkTableSize(version.table, parts.options.maxRecordBytes - recordOverheadBytes);
  const { version: number, writeId, ancestors, table, idleTimeoutMs } = version;
  return parts.sealer.seal(live.identity, {
    version: number,
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
