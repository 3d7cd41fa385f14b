/**
 * The first bytes of every stored record, which a storage reads by itself: it compares versions and knows its own
 * writes without understanding anything behind them. All of it is ASCII of fixed width, so that comparing strings
 * compares numbers, in TypeScript as in Redis' Lua:
 *
 *     offset 0   2  format, "M1"
 *     offset 2  16  version, hexadecimal; grows by one with each save
 *     offset 18 16  writeId, hexadecimal; random, tells our own write whose reply was lost from another's
 *     offset 34 12  idle timeout in milliseconds, hexadecimal; what a renewal on load gives the record
 */
export const recordPrefixBytes = 46;

/** Format mark of the records this release writes. */
export const recordFormat = "M1";

/** The version of a tombstone. It beats every other, so a destroyed session stays destroyed. */
export const tombstoneVersion = "ffffffffffffffff";

const latin1 = (record: Uint8Array, from: number, to: number) =>
  Buffer.from(record.buffer, record.byteOffset, record.byteLength).toString("latin1", from, to);

/** The record's version: 16 hexadecimal digits. */
export const versionOf = (record: Uint8Array): string => latin1(record, 2, 18);

/** The id of the write that made this record: 16 hexadecimal digits. */
export const writeIdOf = (record: Uint8Array): string => latin1(record, 18, 34);

/** The idle timeout in milliseconds that the record asks for. NaN where the bytes are no record. */
export const idleTimeoutMsOf = (record: Uint8Array): number => Number.parseInt(latin1(record, 34, 46), 16);

/** True where the record says "this session was destroyed". */
export const isTombstone = (record: Uint8Array): boolean => versionOf(record) === tombstoneVersion;
