import { MsmError } from "../errors.js";

/**
 * Frames of memcached's binary protocol: a header of 24 bytes, then extras, key and value.
 * Source: https://github.com/memcached/memcached/wiki/BinaryProtocolRevamped
 */
const headerBytes = 24;
const requestMagic = 0x80;
const replyMagic = 0x81;

/** No item is larger; whoever announces more is no memcached. Its own limit (`-I`) is 1 GiB at most. */
const maxBodyBytes = 1024 * 1024 * 1024;

export const opcode = {
  get: 0x00,
  set: 0x01,
  add: 0x02,
  replace: 0x03,
  delete: 0x04,
  version: 0x0b,
  touch: 0x1c,
  getAndTouch: 0x1d,
  saslMechanisms: 0x20,
  saslAuthenticate: 0x21,
} as const;

export const status = {
  ok: 0x00,
  notFound: 0x01,
  exists: 0x02,
  tooLarge: 0x03,
  notStored: 0x05,
  notAuthenticated: 0x20,
  outOfMemory: 0x82,
  busy: 0x85,
  temporaryFailure: 0x86,
} as const;

/** What is asked of memcached. `cas` 0, or none, means: whatever its CAS id is. */
export interface MemcachedRequest {
  readonly opcode: number;
  readonly key?: string;
  readonly extras?: Uint8Array;
  readonly value?: Uint8Array;
  readonly cas?: bigint;
}

/** What memcached answered. */
export interface MemcachedReply {
  readonly opcode: number;
  readonly status: number;
  /** The number of the request that this answers. */
  readonly opaque: number;
  readonly cas: bigint;
  readonly value: Buffer;
}

const nothing = new Uint8Array(0);

/** The bytes of a request; its reply will carry `opaque`, a whole number of 32 bits. */
export function encodeRequest(request: MemcachedRequest, opaque: number): Buffer {
  const { extras = nothing, value = nothing } = request;
  const key = Buffer.from(request.key ?? "", "latin1");
  const bodyBytes = extras.length + key.length + value.length;
  const frame = Buffer.allocUnsafe(headerBytes + bodyBytes);
  frame.writeUInt8(requestMagic, 0);
  frame.writeUInt8(request.opcode, 1);
  frame.writeUInt16BE(key.length, 2);
  frame.writeUInt8(extras.length, 4);
  frame.writeUInt8(0, 5); // data type: raw bytes
  frame.writeUInt16BE(0, 6); // reserved
  frame.writeUInt32BE(bodyBytes, 8);
  frame.writeUInt32BE(opaque, 12);
  frame.writeBigUInt64BE(request.cas ?? 0n, 16);
  frame.set(extras, headerBytes);
  frame.set(key, headerBytes + extras.length);
  frame.set(value, headerBytes + extras.length + key.length);
  return frame;
}

/** Reads a record with its CAS id. */
export const get = (key: string): MemcachedRequest => ({ opcode: opcode.get, key });

/** Reads a record, and lets its time to live start anew. */
export const getAndTouch = (key: string, ttlMs: number): MemcachedRequest => ({
  opcode: opcode.getAndTouch,
  key,
  extras: uint32(expiry(ttlMs)),
});

/** Stores, whatever is there. Not for records, see `replace()`. */
export const set = (key: string, value: Uint8Array, ttlMs: number): MemcachedRequest => ({
  opcode: opcode.set,
  key,
  value,
  extras: flagsAndExpiry(ttlMs),
});

/** Stores where nothing is. */
export const add = (key: string, value: Uint8Array, ttlMs: number): MemcachedRequest => ({
  opcode: opcode.add,
  key,
  value,
  extras: flagsAndExpiry(ttlMs),
});

/**
 * Stores where the CAS id is still this one. Never SET: memcached deletes what was there when it refuses a SET that
 * is too large, and keeps it when it refuses a REPLACE.
 */
export const replace = (key: string, value: Uint8Array, ttlMs: number, cas: bigint): MemcachedRequest => ({
  opcode: opcode.replace,
  key,
  value,
  cas,
  extras: flagsAndExpiry(ttlMs),
});

/** Deletes where the CAS id is still this one. */
export const deleteIf = (key: string, cas: bigint): MemcachedRequest => ({ opcode: opcode.delete, key, cas });

/** Gives a new time to live; changes neither value nor CAS id. */
export const touch = (key: string, ttlMs: number): MemcachedRequest => ({
  opcode: opcode.touch,
  key,
  extras: uint32(expiry(ttlMs)),
});

/** Asks for the server's version: the cheapest question that every memcached answers. */
export const version: MemcachedRequest = { opcode: opcode.version };

/**
 * A TTL as memcached wants it: whole seconds, rounded up; from 30 days on seconds since 1970, as it would take a larger
 * number for a time long ago.
 */
export function expiry(ttlMs: number, nowMs = Date.now()): number {
  const seconds = Math.max(1, Math.ceil(ttlMs / 1000));
  const thirtyDays = 30 * 24 * 60 * 60;
  return seconds <= thirtyDays ? seconds : Math.min(Math.floor(nowMs / 1000) + seconds, 0xffffffff);
}

function flagsAndExpiry(ttlMs: number): Buffer {
  const extras = Buffer.alloc(8);
  extras.writeUInt32BE(expiry(ttlMs), 4);
  return extras;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Puts replies together from the chunks that a socket gives. One per connection: a half reply ends with it. */
export class ReplyReader {
  #chunks: Buffer[] = [];
  #bytes = 0;
  #wanted = headerBytes;

  /**
   * Takes the next chunk.
   * @returns the replies that are complete with it
   * @throws MsmError MSM_ERR_STORAGE_PROTOCOL where the bytes are no replies; the connection is of no use then
   */
  read(chunk: Buffer): MemcachedReply[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < this.#wanted && this.#chunks[0]?.[0] === replyMagic) return [];
    return this.#parse(this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks));
  }

  #parse(bytes: Buffer): MemcachedReply[] {
    const replies: MemcachedReply[] = [];
    let offset = 0;
    for (;;) {
      const frameBytes = frameBytesAt(bytes, offset);
      if (offset + frameBytes > bytes.length) {
        this.#chunks = offset < bytes.length ? [bytes.subarray(offset)] : [];
        this.#bytes = bytes.length - offset;
        this.#wanted = frameBytes;
        return replies;
      }
      replies.push(decodeReply(bytes, offset, frameBytes));
      offset += frameBytes;
    }
  }
}

/** The size of the frame that begins at `offset`, as far as its header is there; else that of the header. */
function frameBytesAt(bytes: Buffer, offset: number): number {
  if (offset < bytes.length && bytes[offset] !== replyMagic)
    throw nonsense("a reply begins with another byte");
  if (offset + headerBytes > bytes.length) return headerBytes;
  const bodyBytes = bytes.readUInt32BE(offset + 8);
  if (bodyBytes > maxBodyBytes) throw nonsense("a reply is larger than any item");
  if (bodyBytes < bytes.readUInt16BE(offset + 2) + bytes.readUInt8(offset + 4)) {
    throw nonsense("a reply is smaller than its parts");
  }
  return headerBytes + bodyBytes;
}

function decodeReply(bytes: Buffer, offset: number, frameBytes: number): MemcachedReply {
  const keyBytes = bytes.readUInt16BE(offset + 2);
  const extrasBytes = bytes.readUInt8(offset + 4);
  return {
    opcode: bytes.readUInt8(offset + 1),
    status: bytes.readUInt16BE(offset + 6),
    opaque: bytes.readUInt32BE(offset + 12),
    cas: bytes.readBigUInt64BE(offset + 16),
    value: bytes.subarray(offset + headerBytes + extrasBytes + keyBytes, offset + frameBytes),
  };
}

function nonsense(what: string): MsmError {
  return new MsmError("MSM_ERR_STORAGE_PROTOCOL", `this is not memcached's binary protocol: ${what}`);
}
