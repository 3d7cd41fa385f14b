/**
 * Gives the bytes in memory of their own where they are a small part of a larger buffer. Sockets read chunks of
 * 64 KiB, and a session that is kept in memory must not keep its chunk as well.
 */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength * 2 < bytes.buffer.byteLength ? new Uint8Array(bytes) : bytes;
}
