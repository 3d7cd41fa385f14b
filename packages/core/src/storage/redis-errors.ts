import { MsmError, type MsmErrorCode } from "../errors.js";

/** What an error reply begins with, or holds after a script's own words, and what it means to us. */
const meanings: readonly (readonly [RegExp, MsmErrorCode])[] = [
  // The server works, and does not take this write.
  [/\b(OOM|MISCONF|NOREPLICAS|NOPERM)\b/, "MSM_ERR_STORAGE_REFUSED"],
  // Redis before 6.2, which can do without it.
  [/^ERR unknown command .?GETEX\b/i, "MSM_ERR_STORAGE_REFUSED"],
  // The server is not the one that can help now: a replica, still loading, failing over, or closed to us.
  [
    /\b(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY|NOAUTH|WRONGPASS|UNBLOCKED|DENIED)\b/,
    "MSM_ERR_STORAGE_UNAVAILABLE",
  ],
  [/max number of clients reached|invalid password/, "MSM_ERR_STORAGE_UNAVAILABLE"],
  // What CLUSTERDOWN, MOVED and TRYAGAIN are called inside of a script (Redis' script.c, scriptVerifyClusterState).
  [/while the cluster is down|access a non local key/, "MSM_ERR_STORAGE_UNAVAILABLE"],
];

/** Gives whatever ioredis rejected with as an MsmError of a storage. */
export function redisError(thrown: unknown): MsmError {
  forgetCommand(thrown);
  return MsmError.from(thrown, codeFor(thrown));
}

/** True where the server said that another one is the primary now, so that this connection is of no use any more. */
export function isFromReplica(error: MsmError): boolean {
  return /\bREADONLY\b/.test(error.message);
}

/** True where the server works, and did not take a command. */
export const isRefusal = (thrown: unknown): thrown is MsmError =>
  thrown instanceof MsmError && thrown.code === "MSM_ERR_STORAGE_REFUSED";

/** True where a command was refused as every write is at the moment, for trouble that the server has. */
export const isRefusalForNow = ({ message }: MsmError): boolean => /\b(MISCONF|NOREPLICAS)\b/.test(message);

/** True where the server lives, and does not let its user send this command, or knows none of that name. */
export function isNotAllowed(thrown: unknown): boolean {
  return isReply(thrown) && /^(NOPERM|ERR)\b/.test(thrown.message);
}

/** A server's own words, as ioredis rejects with them. */
interface ReplyError extends Error {
  readonly name: "ReplyError";
}

/** True where the server answered, and the error is its answer. */
export function isReply(thrown: unknown): thrown is ReplyError {
  return thrown instanceof Error && thrown.name === "ReplyError";
}

/** What was lost was the connection, with what was under way on it, as another one to the same server had to be opened. */
export const reopenedError = () =>
  new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "the connection for the operations had to be opened anew");

/** The peer says what no Redis says. */
export const nonsense = () => new MsmError("MSM_ERR_STORAGE_PROTOCOL", "the reply is none that Redis gives");

/** Where a cluster says that a slot is. */
export interface Redirection {
  /** "moved": from now on. "ask": for this one command, while the slot moves. */
  readonly kind: "moved" | "ask";
  /** Empty where it is that of the server that said so. */
  readonly host: string;
  readonly port: number;
}

/** Where the server sends who asked; undefined where the error is no redirection. */
export function redirectionOf({ cause }: MsmError): Redirection | undefined {
  if (!isReply(cause)) return undefined;
  const { kind, host, port } =
    /^(?<kind>MOVED|ASK) \d+ (?<host>\S*):(?<port>\d+)/.exec(cause.message)?.groups ?? {};
  if (kind === undefined || host === undefined) return undefined;
  return { kind: kind === "ASK" ? "ask" : "moved", host, port: Number(port) };
}

/** True where the slot is on its way to another server, and the command has to wait for that. */
export function isSlotMoving(error: MsmError): boolean {
  return /\bTRYAGAIN\b|access a non local key/.test(error.message);
}

/** ioredis adds what was sent. That holds passwords and records, and errors end up in logs. */
function forgetCommand(thrown: unknown): void {
  if (thrown instanceof Error && "command" in thrown) delete thrown.command;
}

function codeFor(thrown: unknown): MsmErrorCode {
  if (!(thrown instanceof Error)) return "MSM_ERR_STORAGE_UNAVAILABLE";
  if (isReply(thrown)) {
    return meanings.find(([pattern]) => pattern.test(thrown.message))?.[1] ?? "MSM_ERR_STORAGE_PROTOCOL";
  }
  // ioredis' parser says no more than this (resp/decoder.js, DataHandler.js).
  return /Unknown RESP type|Please report this|Command queue state error/.test(thrown.message)
    ? "MSM_ERR_STORAGE_PROTOCOL"
    : "MSM_ERR_STORAGE_UNAVAILABLE";
}
