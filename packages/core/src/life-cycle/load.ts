import { MsmError } from "../errors.js";
import type { FoundRecord } from "../failover/node-reader.js";
import type { Hint, ReadResult } from "../failover/record-search.js";
import type { Replicas } from "../failover/replicas.js";
import type { RingNode } from "../failover/ring-node.js";
import type { LeasePlace } from "../locking/leased-lock.js";
import type { LeaseAttempt, Leased } from "../locking/leases.js";
import type { Parts } from "../parts.js";
import type { AttributeTable } from "../session/attribute-table.js";
import { type Content, LiveSession, StoredState } from "../session/live-session.js";
import { recordOverheadBytes, type SessionRecord } from "../session/record.js";
import {
  identify,
  isSessionId,
  longestIdChars,
  newSessionId,
  type SessionIdentity,
} from "../session/session-id.js";
import type { Lease } from "../storage/storage.js";
import type { SessionRequest } from "./exchange.js";

/**
 * Finds a session on the nodes and renews its time to live. One whose absolute timeout has passed counts as ended.
 * @param leftMs where this is no use of the session: what is left of its life, and stays so
 * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where it cannot be known whether the session exists
 */
export function load(
  identity: SessionIdentity,
  hint: Hint,
  parts: Parts,
  leftMs?: number,
): Promise<ReadResult> {
  return parts.replicas.read(identity, hint, leftMs).then((read) => judge(read, identity, hint, parts));
}

/** What a session that was found is worth: one whose absolute timeout has passed is over. */
function judge(read: ReadResult, identity: SessionIdentity, hint: Hint, parts: Parts): ReadResult {
  if (!isFound(read)) return read;
  if (hasExpired(read.record.expiresAtMs, parts)) return { kind: "ended", successor: undefined };
  if (typeof hint === "string" && read.node.id !== hint) {
    parts.events.emit("relocated", { session: identity.name, from: hint, to: read.node.id });
  }
  return read;
}

/** What who waits for a session is told where it ended meanwhile. */
export const goneError = () => new MsmError("MSM_ERR_SESSION_GONE", "the session is on no node any more");

/** True where there is a session. */
export const isFound = (read: ReadResult): read is FoundRecord => read !== "absent" && read.kind === "found";

/** Loads a session together with its lease, once. @throws MsmError as `load` */
export async function loadWithLease(
  identity: SessionIdentity,
  hint: Hint,
  lease: Lease,
  parts: Parts,
): Promise<LeaseAttempt<ReadResult>> {
  const { replicas } = parts;
  const read = await replicas.lock(identity, hint, lease);
  if (read !== "absent" && read.kind === "locked") {
    const onRelease = (listener: () => void) => replicas.onRelease(read.node, identity, listener);
    return { kind: "refused", retryAfterMs: read.retryAfterMs, onRelease };
  }
  const found = judge(read, identity, hint, parts);
  if (!isFound(read)) return { kind: "nothing", found };
  const { node } = read;
  if (!isFound(found)) {
    replicas.unlock(node, identity, lease.token).catch(() => {}); // then the lease ends by itself
    return { kind: "nothing", found };
  }
  return new TakenLease(found, new PlaceOnNode(node, identity, replicas), read.isWanted === true);
}

// Classes, see storage/answers.ts.

/** A session that was loaded together with its lease. */
class TakenLease {
  readonly kind = "taken";
  readonly found: FoundRecord;
  readonly place: LeasePlace;
  readonly isWanted: boolean;

  constructor(found: FoundRecord, place: LeasePlace, isWanted: boolean) {
    this.found = found;
    this.place = place;
    this.isWanted = isWanted;
  }
}

class PlaceOnNode implements LeasePlace {
  readonly node: string;
  readonly #node: RingNode;
  readonly #identity: SessionIdentity;
  readonly #replicas: Replicas;

  constructor(node: RingNode, identity: SessionIdentity, replicas: Replicas) {
    this.node = node.id;
    this.#node = node;
    this.#identity = identity;
    this.#replicas = replicas;
  }

  renew(lease: Lease): Promise<boolean> {
    return this.#replicas.renewLease(this.#node, this.#identity, lease);
  }

  unlock(token: string): Promise<boolean> {
    return this.#replicas.unlock(this.#node, this.#identity, token);
  }
}

/** Under which id a session was looked for, and what came of it. */
export interface Search extends Leased<ReadResult> {
  readonly identity: SessionIdentity;
}

/** An id leads to a session that leads to the next one, and so on: nobody renews an id more often than that. */
const mostSuccessors = 4;

/**
 * Looks for a session's successor where it got a new id a short while ago.
 * @param first what was found under the session's own id
 * @param look looks under one id
 */
export async function follow(
  first: Search,
  look: (identity: SessionIdentity, hint: Hint) => Promise<Leased<ReadResult>>,
  parts: Parts,
): Promise<Search> {
  let search = first;
  for (let steps = 0; steps < mostSuccessors; steps++) {
    const { found } = search;
    const next = found !== "absent" && found.kind === "ended" ? found.successor : undefined;
    if (next === undefined || parts.clock.now() >= next.untilMs) break;
    const identity = identify(next.id);
    search = { identity, ...(await look(identity, next.node)) };
  }
  return search;
}

/** Loads the session of an id that is no cookie's, or its successor, as a session of its own. */
export async function findAndRevive(
  start: SessionIdentity,
  startHint: Hint,
  parts: Parts,
): Promise<LiveSession | undefined> {
  const look = async (identity: SessionIdentity, hint: Hint) => ({
    found: await load(identity, hint, parts),
    lock: undefined,
  });
  const { identity, found } = await follow(
    { identity: start, ...(await look(start, startHint)) },
    look,
    parts,
  );
  return isFound(found) ? revive(identity, found, parts) : undefined;
}

/** True where the session's absolute timeout has passed. */
export const hasExpired = (expiresAtMs: number | undefined, parts: Parts): boolean =>
  expiresAtMs !== undefined && parts.clock.now() >= expiresAtMs;

/** Makes a session in memory of a record. */
export function revive(identity: SessionIdentity, found: FoundRecord, parts: Parts): LiveSession {
  const { record } = found;
  const live = new LiveSession({
    identity,
    createdAtMs: record.createdAtMs,
    expiresAtMs: record.expiresAtMs,
    idleTimeoutMs: record.idleTimeoutMs,
    node: found.node.id,
    codec: parts.codecs.current,
    resolver: parts.resolver,
    maxTableBytes: parts.options.maxRecordBytes - recordOverheadBytes,
    stored: storedState(found, parts),
    isToBeRewritten: record.isOldKey === true,
  });
  for (const node of found.alsoOn ?? []) live.noteLookedForOn(node);
  return live;
}

/** What a found record says that its node has, its attributes in the codec that this process writes. */
export const storedState = (found: FoundRecord, parts: Parts): StoredState =>
  new StoredState(found.node.id, found.revision, inCurrentCodec(found.record, parts));

/** What a session takes over from the one whose place it takes. */
export interface Heritage {
  readonly table: AttributeTable;
  readonly idleTimeoutMs: number;
  readonly createdAtMs: number;
}

/**
 * Makes a session that is on no node yet.
 * @param request may make the id
 * @throws MsmError MSM_ERR_OPTION where it makes one that cannot be
 */
export function create(
  parts: Parts,
  { newId }: Pick<SessionRequest, "newId">,
  heritage?: Heritage,
): LiveSession {
  const { absoluteTimeoutMs } = parts.options;
  const identity = identify(newId === undefined ? newSessionId() : checkedId(newId()));
  const createdAtMs = heritage?.createdAtMs ?? parts.clock.now();
  return new LiveSession({
    identity,
    createdAtMs,
    expiresAtMs: absoluteTimeoutMs === undefined ? undefined : createdAtMs + absoluteTimeoutMs,
    idleTimeoutMs: heritage?.idleTimeoutMs ?? parts.options.idleTimeoutMs,
    node: parts.ring.place(identity.digest).id,
    codec: parts.codecs.current,
    resolver: parts.resolver,
    maxTableBytes: parts.options.maxRecordBytes - recordOverheadBytes,
    ...(heritage === undefined ? {} : { table: heritage.table }),
  });
}

function checkedId(id: unknown): string {
  if (typeof id === "string" && isSessionId(id)) return id;
  const got = typeof id === "string" ? `a string of ${id.length} characters` : typeof id;
  throw new MsmError(
    "MSM_ERR_OPTION",
    `a session id must be a string of 1 to ${longestIdChars} characters that a cookie may hold (no blanks, quotes, commas, semicolons, backslashes), got ${got}`,
  );
}

function inCurrentCodec(record: SessionRecord, { codecs }: Parts): Content {
  if (record.codec === codecs.current.name) return record;
  const codec = codecs.byName(record.codec);
  const table = new Map<string, Uint8Array>();
  for (const [name, bytes] of record.table) {
    const encoded = codecs.current.encode(codec.decode(bytes));
    if (encoded !== undefined) table.set(name, encoded);
  }
  return { ...record, table };
}
