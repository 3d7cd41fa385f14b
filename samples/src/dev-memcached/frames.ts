/**
 * The frames of memcached's binary protocol: a header of 24 bytes, then extras, key and value.
 * Layout: https://github.com/memcached/memcached/blob/1.6.18/protocol_binary.h
 */
const headerBytes = 24;

/** First byte of every request. */
const requestMagic = 0x80;

const responseMagic = 0x81;

// A request's body may be a little larger than the largest item; one that claims far more is no request.
const maxBodyBytes = 8 * 1024 * 1024;

const noBytes = Buffer.alloc(0);

/** One request, its parts still in the buffer it came in. */
export interface RequestFrame {
  readonly opcode: number;
  /** Four bytes of the client's own, given back with the answer. */
  readonly opaque: Buffer;
  /** The version an item must have; 0: any. */
  readonly cas: bigint;
  readonly extras: Buffer;
  /** Latin-1, so that any bytes make a key and come back as they were. */
  readonly key: string;
  readonly value: Buffer;
}

/** What stands in an answer; what is left out is empty or 0. */
export interface Answer {
  readonly status: number;
  readonly extras?: Buffer;
  readonly key?: string;
  readonly value?: Buffer;
  readonly cas?: bigint;
}

/**
 * Takes the first request off what has been received.
 * @returns the request and what follows it; "incomplete" where more has to arrive; "nonsense" where it is no request
 */
export function takeRequest(
  received: Buffer,
): { frame: RequestFrame; rest: Buffer } | "incomplete" | "nonsense" {
  if (received.length > 0 && received[0] !== requestMagic) return "nonsense";
  if (received.length < headerBytes) return "incomplete";

  const keyBytes = received.readUInt16BE(2);
  const extrasBytes = received.readUInt8(4);
  const bodyBytes = received.readUInt32BE(8);
  if (bodyBytes > maxBodyBytes || keyBytes + extrasBytes > bodyBytes) return "nonsense";
  const end = headerBytes + bodyBytes;
  if (received.length < end) return "incomplete";

  const keyStart = headerBytes + extrasBytes;
  const valueStart = keyStart + keyBytes;
  const frame: RequestFrame = {
    opcode: received.readUInt8(1),
    opaque: received.subarray(12, 16),
    cas: received.readBigUInt64BE(16),
    extras: received.subarray(headerBytes, keyStart),
    key: received.toString("latin1", keyStart, valueStart),
    value: received.subarray(valueStart, end),
  };
  return { frame, rest: received.subarray(end) };
}

/** The bytes that answer a request. */
export function encodeAnswer(request: RequestFrame, answer: Answer): Buffer {
  const extras = answer.extras ?? noBytes;
  const key = Buffer.from(answer.key ?? "", "latin1");
  const value = answer.value ?? noBytes;
  const header = Buffer.alloc(headerBytes);
  header.writeUInt8(responseMagic, 0);
  header.writeUInt8(request.opcode, 1);
  header.writeUInt16BE(key.length, 2);
  header.writeUInt8(extras.length, 4);
  header.writeUInt16BE(answer.status, 6);
  header.writeUInt32BE(extras.length + key.length + value.length, 8);
  request.opaque.copy(header, 12);
  header.writeBigUInt64BE(answer.cas ?? 0n, 16);
  return Buffer.concat([header, extras, key, value]);
}
