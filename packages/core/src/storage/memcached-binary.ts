import { MsmError } from "../errors.js";
import { expiry, type MemcachedReply, type MemcachedRequest } from "./memcached-requests.js";

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

/** A reply as it stands on the wire. */
export interface BinaryReply {
  readonly opcode: number;
  readonly status: number;
  /** The number of the request that this answers. */
  readonly opaque: number;
  readonly cas: bigint;
  readonly value: Buffer;
}

const opcodes: Readonly<Record<MemcachedRequest["verb"], number>> = {
  get: opcode.get,
  getAndTouch: opcode.getAndTouch,
  touch: opcode.touch,
  set: opcode.set,
  add: opcode.add,
  replace: opcode.replace,
  delete: opcode.delete,
  ping: opcode.version,
};

/** The opcode that a request has, and its reply. */
export const opcodeOf = (request: MemcachedRequest): number => opcodes[request.verb];

const nothing = new Uint8Array(0);

/** The bytes of a request; its reply will carry `opaque`, a whole number of 32 bits. */
export function encodeRequest(request: MemcachedRequest, opaque: number): Buffer {
  const extras = extrasOf(request);
  const value = "value" in request ? request.value : nothing;
  const key = Buffer.from("key" in request ? request.key : "", "latin1");
  const bodyBytes = extras.length + key.length + value.length;
  const frame = Buffer.allocUnsafe(headerBytes + bodyBytes);
  frame.writeUInt8(requestMagic, 0);
  frame.writeUInt8(opcodeOf(request), 1);
  frame.writeUInt16BE(key.length, 2);
  frame.writeUInt8(extras.length, 4);
  frame.writeUInt8(0, 5); // data type: raw bytes
  frame.writeUInt16BE(0, 6); // reserved
  frame.writeUInt32BE(bodyBytes, 8);
  frame.writeUInt32BE(opaque, 12);
  frame.writeBigUInt64BE("cas" in request ? request.cas : 0n, 16);
  frame.set(extras, headerBytes);
  frame.set(key, headerBytes + extras.length);
  frame.set(value, headerBytes + extras.length + key.length);
  return frame;
}

/** What stands before the key: the expiry, and for writes the flags before that. */
function extrasOf(request: MemcachedRequest): Uint8Array {
  if (!("ttlMs" in request)) return nothing;
  const flagsBytes = "value" in request ? 4 : 0;
  const extras = Buffer.alloc(flagsBytes + 4);
  extras.writeUInt32BE(expiry(request.ttlMs), flagsBytes);
  return extras;
}

/** What a reply says. */
export function meaningOf({ status: code, cas, value }: BinaryReply): MemcachedReply {
  switch (code) {
    case status.ok:
      return { status: "ok", cas, value };
    case status.notFound:
      return { status: "notFound", cas, value };
    case status.exists:
      return { status: "exists", cas, value };
    case status.notStored:
      return { status: "notStored", cas, value };
    default:
      return { status: "trouble", error: troubleOf(code) };
  }
}

function troubleOf(code: number): MsmError {
  switch (code) {
    case status.tooLarge:
      return new MsmError("MSM_ERR_STORAGE_REFUSED", "memcached refuses the record: too large");
    case status.outOfMemory:
      return new MsmError("MSM_ERR_STORAGE_REFUSED", "memcached refuses the record: out of memory");
    case status.notAuthenticated:
      return new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "memcached wants a user name and a password");
    case status.busy:
    case status.temporaryFailure:
      return new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "memcached is busy");
    default:
      return new MsmError("MSM_ERR_STORAGE_PROTOCOL", `memcached answers status 0x${code.toString(16)}`);
  }
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
  read(chunk: Buffer): BinaryReply[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < this.#wanted && this.#chunks[0]?.[0] === replyMagic) return [];
    return this.#parse(this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks));
  }

  #parse(bytes: Buffer): BinaryReply[] {
    const replies: BinaryReply[] = [];
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

function decodeReply(bytes: Buffer, offset: number, frameBytes: number): BinaryReply {
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
