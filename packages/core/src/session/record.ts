import { createHmac, timingSafeEqual } from "node:crypto";
import { MsmError } from "../errors.js";
import { randomText } from "../random-text.js";
import {
  idleTimeoutMsOf,
  isTombstone,
  recordFormat,
  recordPrefixBytes,
  tombstoneVersion,
  versionOf,
  writeIdOf,
} from "../storage/record-prefix.js";
import type { AttributeTable } from "./attribute-table.js";
import { packTable, unpackTable } from "./attribute-table.js";
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
  readonly isOldKey?: boolean;
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

/** Makes the sealer for a list of keys: the first seals, all open. */
export function createSealer(keys: readonly RecordKey[]): RecordSealer {
  const [current] = keys;
  if (current === undefined) throw new MsmError("MSM_ERR_OPTION", "secret must name at least one key");
  const byId = new Map(keys.map((key) => [key.id, key.key]));

  function seal(identity: SessionIdentity, record: SessionRecord): Buffer {
    const isEnd = record.version === tombstoneVersion;
    const table = isEnd ? pointerTo(record.successor, current!.key, identity) : packTable(record.table);
    const header =
      recordFormat +
      record.version +
      record.writeId +
      hexMs(record.idleTimeoutMs) +
      current!.id +
      record.codec.padEnd(8) +
      hexMs(record.createdAtMs) +
      hexMs(record.expiresAtMs ?? 0) +
      record.ring +
      record.route.padEnd(32) +
      record.home.padEnd(16);
    const bytes = Buffer.allocUnsafe(tableAt + table.length);
    bytes.write(header, 0, "latin1");
    packAncestors(record.ancestors, bytes);
    bytes.write("h", sealKindAt, "latin1");
    bytes.set(table, tableAt);
    bytes.set(mac(current!.key, identity, bytes), macAt);
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
      const text = (from: number, to: number) => bytes.toString("latin1", from, to);
      const key = byId.get(text(keyIdAt, codecAt));
      if (key === undefined) throw spoilt("it was sealed with a key that is not in `secret`");
      if (!timingSafeEqual(mac(key, identity, bytes), bytes.subarray(macAt, tableAt))) {
        throw spoilt("its seal does not fit its bytes and this session");
      }
      // From here on the bytes are ours, as they were written.
      return {
        version: versionOf(bytes),
        writeId: writeIdOf(bytes),
        idleTimeoutMs: idleTimeoutMsOf(bytes),
        codec: text(codecAt, createdAt).trimEnd(),
        createdAtMs: Number.parseInt(text(createdAt, expiresAt), 16),
        expiresAtMs: Number.parseInt(text(expiresAt, ringAt), 16) || undefined,
        ring: text(ringAt, routeAt),
        route: text(routeAt, homeAt).trimEnd(),
        home: text(homeAt, ancestorsAt).trimEnd(),
        ancestors: ancestorsIn(bytes.subarray(ancestorsAt, sealKindAt)),
        table: isTombstone(bytes) ? new Map() : unpackTable(bytes.subarray(tableAt)),
        successor: isTombstone(bytes) ? successorIn(bytes, key, identity) : undefined,
        ...(key === current.key ? {} : { isOldKey: true }),
      };
    },
    isForeign(stored) {
      const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
      if (isNewerFormat(bytes)) return true;
      const isRecord = bytes.length >= tableAt && bytes.toString("latin1", 0, 2) === recordFormat;
      return isRecord && !byId.has(bytes.toString("latin1", keyIdAt, codecAt));
    },
  };
}

/**
 * The length of the successor's id, the id itself, added (XOR) to a pad that only who knows the secret and the former id can
 * make, and the node.
 */
function pointerTo(successor: Successor | undefined, key: Buffer, identity: SessionIdentity): Buffer {
  if (successor === undefined) return Buffer.alloc(0);
  const id = Buffer.from(successor.id, "latin1");
  return Buffer.concat([
    Buffer.of(id.length),
    padded(id, key, identity),
    Buffer.from(successor.node, "latin1"),
  ]);
}

function successorIn(bytes: Buffer, key: Buffer, identity: SessionIdentity): Successor | undefined {
  const pointer = bytes.subarray(tableAt);
  if (pointer.length === 0) return undefined;
  const nodeAt = 1 + pointer[0]!;
  const id = padded(pointer.subarray(1, nodeAt), key, identity).toString("latin1");
  const node = pointer.toString("latin1", nodeAt);
  return { id, node, untilMs: Number.parseInt(bytes.toString("latin1", expiresAt, ringAt), 16) };
}

/** The pad (HMAC-SHA256 in counter mode) is used once only: a session ends once, and a former id has one successor. */
function padded(id: Uint8Array, key: Buffer, identity: SessionIdentity): Buffer {
  const blocks = Array.from({ length: Math.ceil(id.length / macBytes) }, (_, block) =>
    createHmac("sha256", key).update(`successor of ${identity.id}, ${block}`).digest(),
  );
  const pad = Buffer.concat(blocks);
  return Buffer.from(id.map((byte, at) => byte ^ pad[at]!));
}

function packAncestors(writeIds: readonly string[], into: Buffer): void {
  into.fill(0, ancestorsAt, sealKindAt);
  into.write(writeIds.slice(-mostAncestors).join(""), ancestorsAt, "hex");
}

function ancestorsIn(packed: Buffer): string[] {
  const writeIds: string[] = [];
  for (let at = 0; at < packed.length; at += ancestorBytes) {
    const writeId = packed.toString("hex", at, at + ancestorBytes);
    if (/[1-9a-f]/.test(writeId)) writeIds.push(writeId);
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
  if (bytes[sealKindAt] !== 0x68) throw spoilt("its seal is of an unknown kind");
}

/** HMAC-SHA256 (RFC 2104) of everything but the seal itself, with the session's digest as associated data. */
function mac(key: Buffer, identity: SessionIdentity, bytes: Buffer): Buffer {
  return createHmac("sha256", key)
    .update(identity.digest)
    .update(bytes.subarray(0, macAt))
    .update(bytes.subarray(tableAt))
    .digest();
}

const spoilt = (why: string) => new MsmError("MSM_ERR_RECORD_SPOILT", `a stored record was not used: ${why}`);
