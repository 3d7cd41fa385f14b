import { randomBytes } from "node:crypto";
import { recordPrefixBytes, tombstoneVersion } from "@msm/core";

export interface TestRecordParts {
  /** Default 1. */
  readonly version?: number | "tombstone";
  /** 16 hexadecimal digits. Default: random. */
  readonly writeId?: string;
  /** Default 0: the record names none. */
  readonly idleTimeoutMs?: number;
  /** What follows the prefix. Default: 16 random bytes. */
  readonly payload?: Uint8Array | string;
}

/** A record as a storage sees it: the prefix that it reads, and bytes that it does not. */
export function testRecord(parts: TestRecordParts = {}): Buffer {
  const {
    version = 1,
    writeId = randomBytes(8).toString("hex"),
    idleTimeoutMs = 0,
    payload = randomBytes(16),
  } = parts;
  const prefix = `M1${versionDigits(version)}${writeId}${hex(idleTimeoutMs, 12)}`;
  return Buffer.concat([Buffer.from(prefix, "latin1"), Buffer.from(payload)]);
}

/** A version as records and revisions write it: 16 hexadecimal digits. */
export function versionDigits(version: number | "tombstone"): string {
  return version === "tombstone" ? tombstoneVersion : hex(version, 16);
}

/** What stands behind a record's prefix. */
export function payloadOf(record: Uint8Array): Buffer {
  return Buffer.from(record.subarray(recordPrefixBytes));
}

/** A key that nobody else uses, in the form that msm gives its keys. */
export function freshKey(): string {
  return `msm:{${randomBytes(32).toString("base64url")}}`;
}

/** The token of a lease. */
export function freshToken(): string {
  return randomBytes(16).toString("base64url");
}

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
