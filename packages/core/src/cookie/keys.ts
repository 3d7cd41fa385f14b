import { hash, hkdfSync } from "node:crypto";
import type { RecordKey } from "../session/record.js";

/** Keys that were derived from the `secret` option: the first of each signs, all verify. */
export interface Keys {
  readonly cookie: readonly Buffer[];
  readonly record: readonly RecordKey[];
}

/** Derives a key for each use from each secret (HKDF, RFC 5869), so that a cookie's MAC says nothing of a record's. */
export function deriveKeys(secrets: readonly string[]): Keys {
  return {
    cookie: secrets.map((secret) => derive(secret, "msm cookie")),
    record: secrets.map((secret) => {
      const key = derive(secret, "msm record");
      return { key, id: hash("sha256", key, "hex").slice(0, 8) };
    }),
  };
}

const derive = (secret: string, use: string) => Buffer.from(hkdfSync("sha256", secret, "", use, 32));
