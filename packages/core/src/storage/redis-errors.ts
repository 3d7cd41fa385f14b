import { MsmError, type MsmErrorCode } from "../errors.js";

/** What an error reply begins with, or holds after a script's own words, and what it means to us. */
const meanings: readonly (readonly [RegExp, MsmErrorCode])[] = [
  // The server works, and does not take this write.
  [/\b(OOM|MISCONF|NOREPLICAS|NOPERM)\b/, "MSM_ERR_STORAGE_REFUSED"],
  // The server is not the one that can help now: a replica, still loading, failing over, or closed to us.
  [
    /\b(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY|NOAUTH|WRONGPASS|UNBLOCKED)\b/,
    "MSM_ERR_STORAGE_UNAVAILABLE",
  ],
  [/max number of clients reached|invalid password/, "MSM_ERR_STORAGE_UNAVAILABLE"],
];

/** Gives whatever ioredis rejected with as an MsmError of a storage. */
export function redisError(thrown: unknown): MsmError {
  return MsmError.from(thrown, codeFor(thrown));
}

/** True where the server said that another one is the primary now, so that this connection is of no use any more. */
export function isFromReplica(error: MsmError): boolean {
  return /\bREADONLY\b/.test(error.message);
}

function codeFor(thrown: unknown): MsmErrorCode {
  if (!(thrown instanceof Error)) return "MSM_ERR_STORAGE_UNAVAILABLE";
  if (thrown.name === "ReplyError") {
    return meanings.find(([pattern]) => pattern.test(thrown.message))?.[1] ?? "MSM_ERR_STORAGE_PROTOCOL";
  }
  // ioredis' parser says no more than this (resp/decoder.js, DataHandler.js).
  return /Unknown RESP type|Please report this|Command queue state error/.test(thrown.message)
    ? "MSM_ERR_STORAGE_PROTOCOL"
    : "MSM_ERR_STORAGE_UNAVAILABLE";
}
