import { timingSafeEqual } from "node:crypto";
import { MsmError } from "../errors.js";
import { MacKey } from "../mac.js";
import { randomText } from "../random-text.js";
import { isTombstone, recordFormat, recordPrefixBytes, tombstoneVersion } from "../storage/record-prefix.js";
import { type AttributeTable, emptyTable, packedBytes, packInto, unpackTable } from "./attribute-table.js";
import type { SessionIdentity } from "./session-id.js";

/** What a stored record says of its session. */
export interface SessionRecord {
  /** Grows by one with each save; 16 hexadecimal digits. */
  readonly version: string;
  readonly writeId: string;
  /** The write ids of versions that this one contains, the newest last: the last `mostAncestors`. */
  readonly ancestors: readonly string[];
  readonly idleTimeoutMs: number;
  /** Name of the codec that encoded the attributes. */
  readonly codec: string;
  readonly createdAtMs: number;
  /** When the session ends however busy it is, in milliseconds since 1970; undefined: never. */
  readonly expiresAtMs: number | undefined;
  /** Sticky: the process that owns the session; "" where none does. */
  readonly route: string;
  /** Id of the node that the session went on with when this was written: copies on other nodes name it too. */
  readonly home: string;
  /** Which ring its writer knew, see `Ring.fingerprint`. */
  readonly ring: string;
  readonly table: AttributeTable;
  /** Of a tombstone: the session that goes on in the place of this one. */
  readonly successor?: Successor | undefined;
  /** True where the key that sealed it is not the one that seals now: it is to be written anew with the next use. */
  readonly isOldKey?: boolean | undefined;
}

/** So many versions that a record contains are named in it. */
export const mostAncestors = 8;

/** Where a session goes on that got a new id. */
export interface Successor {
  /** Its session id. */
  readonly id: string;
  /** Id of the node that had it then. */
  readonly node: string;
  /** Until when the old id leads to it, in milliseconds since 1970. */
  readonly untilMs: number;
}

/** Where to look for a session whose former id was given up. */
export type SuccessorPlace = Pick<Successor, "id" | "node">;

/** Writes and checks records. A record opens only under the id it was sealed for, with a key of the list. */
export interface RecordSealer {
  seal(identity: SessionIdentity, record: SessionRecord): Buffer;
  /**
   * @throws MsmError MSM_ERR_RECORD_SPOILT where the bytes are not what was sealed for this id
   */
  open(identity: SessionIdentity, bytes: Uint8Array): SessionRecord;
  /**
   * True where the bytes look like a record that another process can read: of a later release, or sealed with a key that
   * this one does not have yet. Such a record is neither used nor taken for damage.
   */
  isForeign(bytes: Uint8Array): boolean;
  /**
   * The record that says "destroyed", and beats every other. Its successor's id is readable to nobody but who knows this
   * session's id and the secret.
   */
  tombstone(identity: SessionIdentity, idleTimeoutMs: number, successor?: Successor): Buffer;
}

/** A record key with the short name by which a record says which key sealed it. */
export interface RecordKey {
  /** 8 hexadecimal digits. */
  readonly id: string;
  readonly key: Buffer;
}

// Behind the prefix of record-prefix.ts, all of fixed width: key id 8, codec 8, createdAt 12, expiresAt 12, ring 8,
// route 32 and home 16 (ASCII, padded with blanks), 8 ancestors of 8 bytes each (zeros where there are fewer), then the seal's
// kind ("h": HMAC-SHA256), its 32 bytes, and the attribute table.
const versionAt = recordFormat.length;
const writeIdAt = versionAt + 16;
const idleAt = writeIdAt + 16;
const keyIdAt = recordPrefixBytes;
const codecAt = keyIdAt + 8;
const createdAt = codecAt + 8;
const expiresAt = createdAt + 12;
const ringAt = expiresAt + 12;
const routeAt = ringAt + 8;
const homeAt = routeAt + 32;
const ancestorsAt = homeAt + 16;
const ancestorBytes = 8;
const sealKindAt = ancestorsAt + mostAncestors * ancestorBytes;
const sealKind = 0x68;
const macAt = sealKindAt + 1;
const macBytes = 32;
const tableAt = macAt + macBytes;

/** Bytes that a record has beside its attribute table. */
export const recordOverheadBytes = tableAt;

const firstVersion = (1).toString(16).padStart(16, "0");

/** The version that follows; the first of all where there is none. */
export function nextVersion(version: string | undefined): string {
  return version === undefined ? firstVersion : laterVersion(version, 1);
}

/** The version that is so many later. */
export function laterVersion(version: string, count: number): string {
  const known = Number.parseInt(version, 16);
  if (known < Number.MAX_SAFE_INTEGER - count) return (known + count).toString(16).padStart(16, "0");
  return (BigInt(`0x${version}`) + BigInt(count)).toString(16).padStart(16, "0");
}

/** A name for one write, by which it is known again when its reply was lost. */
export const newWriteId = (): string => randomText(8, "hex");

const hexMs = (ms: number) => Math.round(ms).toString(16).padStart(12, "0");

/** A key with what it is used with. */
interface SealingKey {
  readonly id: string;
  readonly mac: MacKey;
}

/** Makes the sealer for a list of keys: the first seals, all open. */
export function createSealer(keys: readonly RecordKey[]): RecordSealer {
  const sealing: readonly SealingKey[] = keys.map(({ id, key }) => ({ id, mac: new MacKey(key) }));
  const [current] = sealing;
  if (current === undefined) throw new MsmError("MSM_ERR_OPTION", "secret must name at least one key");
  const byId = new Map(sealing.map((key) => [key.id, key]));
  const headerOf = headersFor(current);

  function seal(identity: SessionIdentity, record: SessionRecord): Buffer {
    const isEnd = record.version === tombstoneVersion;
    return isEnd ? sealEnd(identity, record) : sealTable(identity, record);
  }

  function sealTable(identity: SessionIdentity, record: SessionRecord): Buffer {
    const bytes = Buffer.allocUnsafe(tableAt + packedBytes(record.table));
    packInto(bytes, tableAt, record.table);
    return sealed(identity, record, bytes);
  }

  function sealEnd(identity: SessionIdentity, record: SessionRecord): Buffer {
    const pointer = pointerTo(record.successor, current!.mac, identity);
    const bytes = Buffer.allocUnsafe(tableAt + pointer.length);
    bytes.set(pointer, tableAt);
    return sealed(identity, record, bytes);
  }

  /** Writes all that stands before the table. */
  function sealed(identity: SessionIdentity, record: SessionRecord, bytes: Buffer): Buffer {
    bytes.write(headerOf(record), 0, "latin1");
    packAncestors(record.ancestors, bytes);
    bytes[sealKindAt] = sealKind;
    bytes.write(mac(current!.mac, identity, bytes), macAt, "latin1");
    return bytes;
  }

  return {
    seal,
    tombstone: (identity, idleTimeoutMs, successor) =>
      seal(identity, {
        version: tombstoneVersion,
        writeId: newWriteId(),
        ancestors: [],
        idleTimeoutMs,
        codec: "",
        createdAtMs: 0,
        expiresAtMs: successor?.untilMs,
        route: "",
        home: "",
        ring: "0".repeat(8),
        table: new Map(),
        successor,
      }),
    open(identity, stored) {
      const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
      checkFormat(bytes);
      // One text of all: each call out of JavaScript costs as much as all the pieces of it.
      const header = bytes.toString("latin1", 0, ancestorsAt);
      const key = byId.get(header.slice(keyIdAt, codecAt));
      if (key === undefined) throw spoilt("it was sealed with a key that is not in `secret`");
      if (!isSealOf(mac(key.mac, identity, bytes), bytes)) {
        throw spoilt("its seal does not fit its bytes and this session");
      }
      // From here on the bytes are ours, as they were written.
      const successor = isTombstone(bytes) ? successorIn(bytes, key.mac, identity) : undefined;
      return new OpenedRecord(header, bytes, successor, key !== current);
    },
    isForeign(stored) {
      const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
      if (isNewerFormat(bytes)) return true;
      const isRecord = bytes.length >= tableAt && bytes.toString("latin1", 0, 2) === recordFormat;
      return isRecord && !byId.has(bytes.toString("latin1", keyIdAt, codecAt));
    },
  };
}

/** What a record says. A class, see storage/answers.ts. */
class OpenedRecord implements SessionRecord {
  readonly version: string;
  readonly writeId: string;
  readonly ancestors: readonly string[];
  readonly idleTimeoutMs: number;
  readonly codec: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
  readonly route: string;
  readonly home: string;
  readonly ring: string;
  readonly table: AttributeTable;
  readonly successor: Successor | undefined;
  readonly isOldKey: true | undefined;

  /** @param header what stands before the ancestors */
  constructor(header: string, bytes: Buffer, successor: Successor | undefined, isOldKey: boolean) {
    this.version = header.slice(versionAt, writeIdAt);
    this.writeId = header.slice(writeIdAt, idleAt);
    this.ancestors = ancestorsIn(bytes);
    this.idleTimeoutMs = Number.parseInt(header.slice(idleAt, keyIdAt), 16);
    this.codec = header.slice(codecAt, createdAt).trimEnd();
    this.createdAtMs = Number.parseInt(header.slice(createdAt, expiresAt), 16);
    this.expiresAtMs = Number.parseInt(header.slice(expiresAt, ringAt), 16) || undefined;
    this.route = header.slice(routeAt, homeAt).trimEnd();
    this.home = header.slice(homeAt, ancestorsAt).trimEnd();
    this.ring = header.slice(ringAt, routeAt);
    this.table = isTombstone(bytes) ? emptyTable : unpackTable(bytes, tableAt);
    this.successor = successor;
    this.isOldKey = isOldKey || undefined;
  }
}

/** Makes what stands before the ancestors. Most of it is the same from one record to the next. */
function headersFor(key: SealingKey): (record: SessionRecord) => string {
  let idleTimeoutMs: number | undefined;
  let idle = "";
  let codec: string | undefined;
  let keyAndCodec = "";
  let place: Pick<SessionRecord, "ring" | "route" | "home"> | undefined;
  let placeText = "";
  return (record) => {
    if (record.idleTimeoutMs !== idleTimeoutMs) {
      idleTimeoutMs = record.idleTimeoutMs;
      idle = hexMs(idleTimeoutMs);
    }
    if (record.codec !== codec) {
      codec = record.codec;
      keyAndCodec = key.id + codec.padEnd(8);
    }
    if (record.ring !== place?.ring || record.route !== place.route || record.home !== place.home) {
      place = { ring: record.ring, route: record.route, home: record.home };
      placeText = record.ring + record.route.padEnd(32) + record.home.padEnd(16);
    }
    const created = hexMs(record.createdAtMs);
    const expires = record.expiresAtMs === undefined ? never : hexMs(record.expiresAtMs);
    return (
      recordFormat + record.version + record.writeId + idle + keyAndCodec + created + expires + placeText
    );
  };
}

const never = hexMs(0);

/**
 * The length of the successor's id, the id itself, added (XOR) to a pad that only who knows the secret and the former id can
 * make, and the node.
 */
function pointerTo(successor: Successor | undefined, key: MacKey, identity: SessionIdentity): Buffer {
  if (successor === undefined) return Buffer.alloc(0);
  const id = Buffer.from(successor.id, "latin1");
  return Buffer.concat([
    Buffer.of(id.length),
    padded(id, key, identity),
    Buffer.from(successor.node, "latin1"),
  ]);
}

function successorIn(bytes: Buffer, key: MacKey, identity: SessionIdentity): Successor | undefined {
  const pointer = bytes.subarray(tableAt);
  if (pointer.length === 0) return undefined;
  const nodeAt = 1 + pointer[0]!;
  const id = padded(pointer.subarray(1, nodeAt), key, identity).toString("latin1");
  const node = pointer.toString("latin1", nodeAt);
  return { id, node, untilMs: Number.parseInt(bytes.toString("latin1", expiresAt, ringAt), 16) };
}

/** The pad (HMAC-SHA256 in counter mode) is used once only: a session ends once, and a former id has one successor. */
function padded(id: Uint8Array, key: MacKey, identity: SessionIdentity): Buffer {
  const blocks = Array.from({ length: Math.ceil(id.length / macBytes) }, (_, block) =>
    key.of([`successor of ${identity.id}, ${block}`], "binary"),
  );
  const pad = Buffer.from(blocks.join(""), "latin1");
  return Buffer.from(id.map((byte, at) => byte ^ pad[at]!));
}

function packAncestors(writeIds: readonly string[], into: Buffer): void {
  const first = Math.max(0, writeIds.length - mostAncestors);
  let all = "";
  for (let at = first; at < writeIds.length; at++) all += writeIds[at];
  into.write(all, ancestorsAt, "hex");
  const end = ancestorsAt + (writeIds.length - first) * ancestorBytes;
  if (end < sealKindAt) into.fill(0, end, sealKindAt);
}

const noAncestor = "0".repeat(2 * ancestorBytes);

function ancestorsIn(bytes: Buffer): string[] {
  const writeIds: string[] = [];
  if (bytes[ancestorsAt] === 0 && bytes.readUInt32BE(ancestorsAt) === 0) return writeIds;
  const all = bytes.toString("hex", ancestorsAt, sealKindAt);
  for (let at = 0; at < all.length; at += 2 * ancestorBytes) {
    const writeId = all.slice(at, at + 2 * ancestorBytes);
    if (writeId === noAncestor) break;
    writeIds.push(writeId);
  }
  return writeIds;
}

/** True where the bytes are a record of a later release, which this one must neither use nor destroy. */
export const isNewerFormat = (bytes: Uint8Array): boolean =>
  bytes.length >= 2 && bytes[0] === 0x4d && bytes[1]! > 0x31 && bytes[1]! <= 0x39;

function checkFormat(bytes: Buffer): void {
  if (isNewerFormat(bytes))
    throw spoilt(`its format ${bytes.toString("latin1", 0, 2)} is newer than ${recordFormat}`);
  if (bytes.length < tableAt || bytes.toString("latin1", 0, 2) !== recordFormat)
    throw spoilt("it is no record");
  if (bytes[sealKindAt] !== sealKind) throw spoilt("its seal is of an unknown kind");
}

/** Of everything but the seal itself, with the session's digest as associated data. */
function mac(key: MacKey, identity: SessionIdentity, bytes: Buffer): string {
  const parts = [identity.digest, { bytes, from: 0, to: macAt }, { bytes, from: tableAt, to: bytes.length }];
  return key.of(parts, "binary");
}

const madeMac = Buffer.alloc(macBytes);

function isSealOf(made: string, bytes: Buffer): boolean {
  madeMac.write(made, "latin1");
  return timingSafeEqual(madeMac, bytes.subarray(macAt, tableAt));
}

const spoilt = (why: string) => new MsmError("MSM_ERR_RECORD_SPOILT", `a stored record was not used: ${why}`);
