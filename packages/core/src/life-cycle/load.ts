import type { FoundRecord, ReadResult } from "../failover/replicas.js";
import type { Parts } from "../parts.js";
import type { AttributeTable } from "../session/attribute-table.js";
import { LiveSession, type StoredState } from "../session/live-session.js";
import { recordOverheadBytes, type SessionRecord } from "../session/record.js";
import { identify, newSessionId, type SessionIdentity } from "../session/session-id.js";
import { conflictResolver } from "./conflicts.js";

/**
 * Finds a session on the nodes and renews its time to live. One whose absolute timeout has passed counts as destroyed.
 * @param leftMs where this is no use of the session: what is left of its life, and stays so
 * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where it cannot be known whether the session exists
 */
export async function load(
  identity: SessionIdentity,
  hint: string,
  parts: Parts,
  leftMs?: number,
): Promise<ReadResult> {
  const found = await parts.replicas.read(identity, hint, leftMs);
  if (typeof found === "string") return found;
  if (hasExpired(found.record.expiresAtMs, parts)) return "destroyed";
  if (found.node.id !== hint) {
    parts.events.emit("relocated", { session: identity.name, from: hint, to: found.node.id });
  }
  return found;
}

/** True where the session's absolute timeout has passed. */
export const hasExpired = (expiresAtMs: number | undefined, parts: Parts): boolean =>
  expiresAtMs !== undefined && parts.clock.now() >= expiresAtMs;

/** Makes a session in memory of a record. */
export function revive(identity: SessionIdentity, found: FoundRecord, parts: Parts): LiveSession {
  const { record } = found;
  return new LiveSession({
    identity,
    createdAtMs: record.createdAtMs,
    expiresAtMs: record.expiresAtMs,
    idleTimeoutMs: record.idleTimeoutMs,
    node: found.node.id,
    codec: parts.codecs.current,
    resolve: conflictResolver(identity, parts),
    maxTableBytes: parts.options.maxRecordBytes - recordOverheadBytes,
    stored: storedState(found, parts),
    isToBeRewritten: record.isOldKey === true,
  });
}

/** What a found record says that its node has, its attributes in the codec that this process writes. */
export const storedState = (found: FoundRecord, parts: Parts): StoredState => ({
  node: found.node.id,
  revision: found.revision,
  writeId: found.record.writeId,
  table: inCurrentCodec(found.record, parts),
  idleTimeoutMs: found.record.idleTimeoutMs,
});

/** What a session takes over from the one whose place it takes. */
export interface Heritage {
  readonly table: AttributeTable;
  readonly idleTimeoutMs: number;
  readonly createdAtMs: number;
}

/** Makes a session that is on no node yet. */
export function create(parts: Parts, heritage?: Heritage): LiveSession {
  const { absoluteTimeoutMs } = parts.options;
  const identity = identify(newSessionId());
  const createdAtMs = heritage?.createdAtMs ?? parts.clock.now();
  return new LiveSession({
    identity,
    createdAtMs,
    expiresAtMs: absoluteTimeoutMs === undefined ? undefined : createdAtMs + absoluteTimeoutMs,
    idleTimeoutMs: heritage?.idleTimeoutMs ?? parts.options.idleTimeoutMs,
    node: parts.ring.place(identity.digest).id,
    codec: parts.codecs.current,
    resolve: conflictResolver(identity, parts),
    maxTableBytes: parts.options.maxRecordBytes - recordOverheadBytes,
    ...(heritage === undefined ? {} : { table: heritage.table }),
  });
}

function inCurrentCodec(record: SessionRecord, { codecs }: Parts): AttributeTable {
  if (record.codec === codecs.current.name) return record.table;
  const codec = codecs.byName(record.codec);
  const table = new Map<string, Uint8Array>();
  for (const [name, bytes] of record.table) {
    const encoded = codecs.current.encode(codec.decode(bytes));
    if (encoded !== undefined) table.set(name, encoded);
  }
  return table;
}
