import { MsmError } from "../errors.js";
import { withDeadline } from "./deadline.js";
import { type MemcachedAddress, type MemcachedServerOptions, memcachedAddress } from "./memcached-address.js";
import type { ConnectionMark, MemcachedConnection } from "./memcached-connection.js";
import {
  add,
  deleteIf,
  get,
  getAndTouch,
  type MemcachedAnswer,
  type MemcachedReply,
  type MemcachedRequest,
  ping,
  replace,
  set,
  touch,
} from "./memcached-requests.js";
import { guardedConnection } from "./memjs-guard.js";
import { metaConnection } from "./meta-connection.js";
import { ownBytes } from "./own-bytes.js";
import { idleTimeoutMsOf, isTombstone, tombstoneVersion, versionOf, writeIdOf } from "./record-prefix.js";
import type {
  Lease,
  LoadOptions,
  LoadResult,
  Revision,
  SaveOptions,
  SaveResult,
  Storage,
} from "./storage.js";
import { type StorageKeys, storageKeys } from "./storage-keys.js";

export interface MemcachedStorageOptions extends MemcachedServerOptions {
  readonly host: string;
  readonly port: number;
  /** Deadline of each operation, connecting included, in milliseconds. Default 250. */
  readonly operationTimeoutMs?: number;
}

/**
 * A storage node on a memcached server: through memjs in the binary protocol, or in the meta protocol.
 *
 * TTLs count in whole seconds, rounded up, and a lease lives 3 s at least: memcached's clock ticks once a second. The
 * server must not run with `-C`, which turns off the version check. Uses one connection, and another one for `ping()`;
 * each is opened when it is first needed. Operations reject with MSM_ERR_STORAGE_UNAVAILABLE, _TIMEOUT, _PROTOCOL,
 * _REFUSED (too large, no memory), or MSM_ERR_CLOSED after `close()`.
 * @throws MsmError MSM_ERR_OPTION
 */
export function memcachedStorage(options: MemcachedStorageOptions): Storage {
  return new MemcachedStorage(options);
}

/** A record as it was read, with what a replacement needs. */
interface Stored {
  readonly record: Uint8Array;
  readonly revision: MemcachedRevision;
}

interface MemcachedRevision extends Revision {
  readonly cas: bigint;
  readonly connection: ConnectionMark;
  /** The lease that was taken with the record, which saves a question when it is given back. */
  readonly lease?: HeldLease;
}

/** A lease as it was taken, on the connection of the revision that it stands in. */
interface HeldLease extends Lease {
  readonly cas: bigint;
}

/** Lives shorter than this could end before they began. */
const shortestLeaseMs = 3000;

/** How long it is remembered that somebody was refused a lease; who goes on waiting is refused again, and renews it. */
const wantedMs = 3000;

/** Rounds of read, compare, write before a key counts as too busy. */
const maxRounds = 5;

class MemcachedStorage implements Storage {
  readonly kind = "memcached";
  readonly #timeoutMs: number;
  readonly #main: Promise<MemcachedConnection>;
  readonly #forPing: Promise<MemcachedConnection>;
  #opened: MemcachedConnection[] = [];
  #isClosed = false;

  constructor(options: MemcachedStorageOptions) {
    const { operationTimeoutMs = 250 } = options;
    this.#timeoutMs = operationTimeoutMs;
    const address = memcachedAddress(options);
    const prepare = async () => {
      const connection = await prepareConnection(address, 2 * operationTimeoutMs);
      this.#opened.push(connection);
      return connection;
    };
    this.#main = prepare();
    this.#forPing = prepare();
    // A failed import is the operations' trouble; nobody may be waiting for it yet.
    for (const connection of [this.#main, this.#forPing]) connection.catch(() => undefined);
  }

  load(key: string, options: LoadOptions = {}): Promise<LoadResult> {
    return this.#perform("load", key, async (connection, keys) => {
      const { lease, renewTtlMs } = options;
      const result = lease
        ? await loadWithLease(connection, keys, lease, renewTtlMs)
        : await loadPlainly(connection, keys, renewTtlMs);
      if (result.kind === "found" && renewTtlMs !== undefined) {
        await renewAsTheRecordWants(connection, keys, result.record, renewTtlMs);
      }
      return result;
    });
  }

  save(key: string, record: Uint8Array, ttlMs: number, options: SaveOptions): Promise<SaveResult> {
    return this.#perform("save", key, async (connection, keys) => {
      const { expect, unlock: token } = options;
      const write = { record, ttlMs };
      if (expect === "absent") {
        return unlockAfter(await create(connection, keys, write), connection, keys, token);
      }
      const revision = known(expect);
      if (token !== undefined && revision?.lease?.token === token) {
        return replaceAndUnlock(connection, keys, write, revision, revision.lease);
      }
      return unlockAfter(await replaceAt(connection, keys, write, expect), connection, keys, token);
    });
  }

  putIfNewer(key: string, record: Uint8Array, ttlMs: number): Promise<boolean> {
    return this.#perform("putIfNewer", key, (connection, keys) =>
      putIfNewer(connection, keys, record, ttlMs),
    );
  }

  touch(key: string, ttlMs: number): Promise<boolean> {
    return this.#perform("touch", key, async (connection, keys) => {
      const reply = await askOne(connection, touch(keys.record, ttlMs));
      return reply.status === "ok";
    });
  }

  renewLease(key: string, lease: Lease): Promise<boolean> {
    return this.#perform("renewLease", key, (connection, keys) => renewLease(connection, keys, lease));
  }

  unlock(key: string, token: string): Promise<boolean> {
    return this.#perform("unlock", key, (connection, keys) => unlock(connection, keys, token));
  }

  ping(): Promise<unknown> {
    return this.#within("ping", this.#forPing, async (connection) => {
      const answers = await ask(connection, [ping]);
      return answers.connection;
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#opened.map((connection) => connection.end(closedError())));
  }

  async #perform<T>(
    verb: string,
    key: string,
    run: (connection: MemcachedConnection, keys: StorageKeys) => Promise<T>,
  ): Promise<T> {
    const keys = storageKeys(key);
    return this.#within(verb, this.#main, (connection) => run(connection, keys));
  }

  /**
   * Runs one operation on a connection; where its time is over, the connection ends with it, as it may be hung. The
   * time begins when memjs is loaded, which says nothing about the server.
   */
  async #within<T>(
    verb: string,
    prepared: Promise<MemcachedConnection>,
    run: (connection: MemcachedConnection) => Promise<T>,
  ): Promise<T> {
    const connection = await unavailableUnlessLoaded(prepared);
    if (this.#isClosed) throw closedError();
    return withDeadline(
      `memcached ${verb}`,
      this.#timeoutMs,
      () => run(connection),
      (error) => connection.drop(error),
    );
  }
}

/** Makes what connects when it is first asked. */
async function prepareConnection(
  address: MemcachedAddress,
  connectTimeoutMs: number,
): Promise<MemcachedConnection> {
  if (address.protocol === "meta") return metaConnection(address);
  const { Server } = await import("memjs");
  return guardedConnection(Server, address, connectTimeoutMs);
}

async function unavailableUnlessLoaded(prepared: Promise<MemcachedConnection>): Promise<MemcachedConnection> {
  try {
    return await prepared;
  } catch (thrown) {
    throw MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
  }
}

const closedError = () => new MsmError("MSM_ERR_CLOSED", "the memcached storage is closed");

async function loadPlainly(
  connection: MemcachedConnection,
  keys: StorageKeys,
  renewTtlMs: number | undefined,
): Promise<LoadResult> {
  const { replies, connection: mark } = await ask(connection, [read(keys, renewTtlMs)]);
  const stored = storedIn(replies[0]!, mark);
  return stored ? found(stored) : { kind: "absent" };
}

/**
 * One trip: takes the lease if it is free, says who has it, reads the record. memcached carries them out in this order, so
 * the record is never older than the lease.
 */
async function loadWithLease(
  connection: MemcachedConnection,
  keys: StorageKeys,
  lease: Lease,
  renewTtlMs: number | undefined,
): Promise<LoadResult> {
  for (let round = 0; round < maxRounds; round += 1) {
    const { replies, connection: mark } = await ask(connection, [
      add(keys.lease, leaseValue(lease), leaseTtlMs(lease)),
      get(keys.lease),
      read(keys, renewTtlMs),
    ]);
    const [added, held, recordReply] = replies as [MemcachedAnswer, MemcachedAnswer, MemcachedAnswer];
    const stored = storedIn(recordReply, mark);
    const leaseCas = added.status === "ok" ? writtenCasOf(added) : undefined;
    if (!stored || isTombstone(stored.record)) {
      if (leaseCas !== undefined) await connection.ask([deleteIf(keys.lease, leaseCas)], mark);
      return stored ? found(stored) : { kind: "absent" };
    }
    if (leaseCas !== undefined) return foundWithLease(stored, lease, leaseCas);
    const holder = leaseIn(held);
    if (holder && holder.token !== lease.token) {
      await markAsWanted(connection, keys, holder.token, mark);
      return { kind: "locked", retryAfterMs: holder.ttlMs };
    }
    const taken = holder && (await takeAgain(connection, keys, lease, holder.cas, mark));
    if (taken)
      return { ...foundWithLease(stored, lease, taken.cas), ...(taken.isWanted && { isWanted: true }) };
    // It ended between the two questions, or changed while we renewed it. Ask again.
  }
  throw tooBusy();
}

const read = (keys: StorageKeys, renewTtlMs: number | undefined) =>
  renewTtlMs === undefined ? get(keys.record) : getAndTouch(keys.record, renewTtlMs);

const found = ({ record, revision }: Stored) => ({ kind: "found", record, revision }) as const;

const foundWithLease = ({ record, revision }: Stored, { token, ttlMs }: Lease, cas: bigint) =>
  found({ record, revision: { ...revision, lease: { token, ttlMs, cas } } });

/**
 * Leaves word, beside the lease, that somebody was refused it. A token stands there, so that the next holder does not
 * take it for its own. The word is a hint: where it cannot be left, nothing is lost but the turn.
 */
async function markAsWanted(
  connection: MemcachedConnection,
  keys: StorageKeys,
  token: string,
  mark: ConnectionMark,
): Promise<void> {
  const word = set(keys.wanted, Buffer.from(token, "latin1"), wantedMs);
  await connection.ask([word], mark).catch(() => undefined);
}

/**
 * Renews the lease that is the token's already, and asks in the same trip whether it is wanted.
 * @returns undefined where it was not renewed
 */
async function takeAgain(
  connection: MemcachedConnection,
  keys: StorageKeys,
  lease: Lease,
  cas: bigint,
  mark: ConnectionMark,
): Promise<{ readonly cas: bigint; readonly isWanted: boolean } | undefined> {
  const answers = await connection.ask([renewal(keys, lease, cas), get(keys.wanted)], mark);
  if (!answers) return undefined;
  const [renewed, wanted] = answers.replies.map(checked) as [MemcachedAnswer, MemcachedAnswer];
  const renewedCas = renewed.status === "ok" ? writtenCasOf(renewed) : undefined;
  if (renewedCas === undefined) return undefined;
  const isWanted = wanted.status === "ok" && wanted.value.toString("latin1") === lease.token;
  return { cas: renewedCas, isWanted };
}

/** memcached had to be told a time to live before it showed the record, which may ask for another. */
async function renewAsTheRecordWants(
  connection: MemcachedConnection,
  keys: StorageKeys,
  record: Uint8Array,
  givenTtlMs: number,
): Promise<void> {
  const wantedTtlMs = idleTimeoutMsOf(record) || givenTtlMs;
  if (Math.ceil(wantedTtlMs / 1000) === Math.ceil(givenTtlMs / 1000)) return;
  await askOne(connection, touch(keys.record, wantedTtlMs));
}

/** A record that shall be stored. */
interface Write {
  readonly record: Uint8Array;
  readonly ttlMs: number;
}

async function create(
  connection: MemcachedConnection,
  keys: StorageKeys,
  { record, ttlMs }: Write,
): Promise<SaveResult> {
  for (let round = 0; round < maxRounds; round += 1) {
    const { replies, connection: mark } = await ask(connection, [add(keys.record, record, ttlMs)]);
    const reply = replies[0]!;
    if (reply.status === "ok") return storedAs(record, reply, mark);
    const current = await readStored(connection, keys);
    if (current) return isSameWrite(current.record, record) ? storedAgain(current) : { kind: "conflict" };
    // What was there for ADD was gone for GET. Try again.
  }
  throw tooBusy();
}

/** Replaces the record under its CAS id, as long as that is right; else compares what is there with what is expected. */
async function replaceAt(
  connection: MemcachedConnection,
  keys: StorageKeys,
  { record, ttlMs }: Write,
  expect: Revision,
): Promise<SaveResult> {
  let revision = known(expect);
  for (let round = 0; round < maxRounds; round += 1) {
    if (!revision) {
      const current = await readStored(connection, keys);
      if (!current) return { kind: "gone" };
      if (isSameWrite(current.record, record)) return storedAgain(current);
      if (isTombstone(current.record) || current.revision.version !== expect.version)
        return { kind: "conflict" };
      revision = current.revision;
    }
    const answers = await connection.ask(
      [replace(keys.record, record, ttlMs, revision.cas)],
      revision.connection,
    );
    if (answers) {
      const reply = checked(answers.replies[0]!);
      if (reply.status === "ok") return storedAs(record, reply, answers.connection, revision.lease);
      if (reply.status === "notFound") return { kind: "gone" };
    }
    // Another record, or the CAS id is of another connection. Look at what is there.
    revision = undefined;
  }
  throw tooBusy();
}

/**
 * One trip: replaces the record and deletes the lease that was loaded with it, each under its CAS id. memcached does the
 * second also where it refuses the first. Then the lease is taken back, unless another was faster: who held it learns
 * that when it is to be renewed, and no save goes without the version check.
 */
async function replaceAndUnlock(
  connection: MemcachedConnection,
  keys: StorageKeys,
  write: Write,
  revision: MemcachedRevision,
  lease: HeldLease,
): Promise<SaveResult> {
  const answers = await connection.ask(
    [replace(keys.record, write.record, write.ttlMs, revision.cas), deleteIf(keys.lease, lease.cas)],
    revision.connection,
  );
  if (answers) {
    const [replaced, deleted] = answers.replies as [MemcachedReply, MemcachedReply];
    if (replaced.status === "ok") {
      const result = storedAs(write.record, replaced, answers.connection);
      // Another CAS id: it was renewed meanwhile, or is another's.
      const isOver = deleted.status === "ok" || deleted.status === "notFound";
      return isOver ? result : unlockAfter(result, connection, keys, lease.token);
    }
    if (deleted.status === "ok") {
      const takeBack = add(keys.lease, leaseValue(lease), leaseTtlMs(lease));
      await connection.ask([takeBack], answers.connection);
    }
    checked(replaced);
  }
  // Another record, or the CAS ids are of another connection. Look at what is there.
  const result = await replaceAt(connection, keys, write, { version: revision.version });
  return unlockAfter(result, connection, keys, lease.token);
}

/** Gives the lease back where the record was stored. That stands, whatever becomes of the lease: it ends by itself. */
async function unlockAfter(
  result: SaveResult,
  connection: MemcachedConnection,
  keys: StorageKeys,
  token: string | undefined,
): Promise<SaveResult> {
  if (result.kind === "stored" && token !== undefined) {
    await unlock(connection, keys, token).catch(() => false);
  }
  return result;
}

async function putIfNewer(
  connection: MemcachedConnection,
  keys: StorageKeys,
  record: Uint8Array,
  ttlMs: number,
): Promise<boolean> {
  for (let round = 0; round < maxRounds; round += 1) {
    const current = await readStored(connection, keys);
    if (current && current.revision.version >= versionOf(record)) return false;
    const write = current
      ? replace(keys.record, record, ttlMs, current.revision.cas)
      : add(keys.record, record, ttlMs);
    const answers = await connection.ask([write], current?.revision.connection);
    if (answers && checked(answers.replies[0]!).status === "ok") return true;
    // It changed between reading and writing. Compare again.
  }
  throw tooBusy();
}

async function renewLease(
  connection: MemcachedConnection,
  keys: StorageKeys,
  lease: Lease,
): Promise<boolean> {
  for (let round = 0; round < maxRounds; round += 1) {
    const { replies, connection: mark } = await ask(connection, [get(keys.lease)]);
    const holder = leaseIn(replies[0]!);
    if (holder?.token !== lease.token) return false;
    const answers = await connection.ask([renewal(keys, lease, holder.cas)], mark);
    if (answers && checked(answers.replies[0]!).status === "ok") return true;
  }
  throw tooBusy();
}

/** Never TOUCH: it asks nobody whose lease it is. */
const renewal = (keys: StorageKeys, lease: Lease, cas: bigint) =>
  replace(keys.lease, leaseValue(lease), leaseTtlMs(lease), cas);

/** Deletes the lease under the CAS id of the very lease that the token was found in. */
async function unlock(connection: MemcachedConnection, keys: StorageKeys, token: string): Promise<boolean> {
  for (let round = 0; round < maxRounds; round += 1) {
    const { replies, connection: mark } = await ask(connection, [get(keys.lease)]);
    const holder = leaseIn(replies[0]!);
    if (holder?.token !== token) return false;
    const answers = await connection.ask([deleteIf(keys.lease, holder.cas)], mark);
    if (answers && checked(answers.replies[0]!).status === "ok") return true;
  }
  throw tooBusy();
}

/** The value of a lease: its token, and its TTL for those who wait, as memcached would not tell it. */
const leaseValue = (lease: Lease) => Buffer.from(`${lease.token} ${leaseTtlMs(lease)}`, "latin1");

const leaseTtlMs = (lease: Lease) => Math.max(lease.ttlMs, shortestLeaseMs);

function leaseIn(reply: MemcachedAnswer): { token: string; ttlMs: number; cas: bigint } | undefined {
  if (reply.status !== "ok") return undefined;
  const [token = "", ttlMs] = reply.value.toString("latin1").split(" ");
  return { token, ttlMs: Number(ttlMs) || shortestLeaseMs, cas: casOf(reply) };
}

async function readStored(connection: MemcachedConnection, keys: StorageKeys): Promise<Stored | undefined> {
  const { replies, connection: mark } = await ask(connection, [get(keys.record)]);
  return storedIn(replies[0]!, mark);
}

function storedIn(reply: MemcachedAnswer, mark: ConnectionMark): Stored | undefined {
  if (reply.status !== "ok") return undefined;
  const record = ownBytes(reply.value);
  return { record, revision: { version: versionOf(record), cas: casOf(reply), connection: mark } };
}

const isSameWrite = (one: Uint8Array, other: Uint8Array) => writeIdOf(one) === writeIdOf(other);

/** @param lease that was loaded with the record before, on this connection, and is held on */
const storedAs = (
  record: Uint8Array,
  reply: MemcachedAnswer,
  connection: ConnectionMark,
  lease?: HeldLease,
): SaveResult => {
  const version = versionOf(record);
  const cas = writtenCasOf(reply);
  if (cas === undefined) return { kind: "stored", revision: { version } };
  const revision: MemcachedRevision = { version, cas, connection, ...(lease && { lease }) };
  return { kind: "stored", revision };
};

const storedAgain = ({ revision }: Stored): SaveResult => ({ kind: "stored", revision });

/**
 * The revision with what memcached needs; undefined where it comes from elsewhere and says no more than the version. Also
 * for a tombstone: it is never replaced, not even by who has its CAS id.
 */
const known = (revision: Revision): MemcachedRevision | undefined =>
  "cas" in revision && revision.version !== tombstoneVersion ? (revision as MemcachedRevision) : undefined;

/** What memcached answered, and on which connection. */
interface Checked {
  readonly replies: readonly MemcachedAnswer[];
  readonly connection: ConnectionMark;
}

async function ask(connection: MemcachedConnection, requests: readonly MemcachedRequest[]): Promise<Checked> {
  const answers = await connection.ask(requests);
  if (!answers) throw new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "the connection was lost");
  return { replies: answers.replies.map(checked), connection: answers.connection };
}

async function askOne(connection: MemcachedConnection, request: MemcachedRequest): Promise<MemcachedAnswer> {
  const { replies } = await ask(connection, [request]);
  return replies[0]!;
}

/** The CAS id of what was read. One of 0 would mean "whatever is there", and every version check would pass. */
function casOf(reply: MemcachedAnswer): bigint {
  if (reply.cas) return reply.cas;
  throw new MsmError("MSM_ERR_STORAGE_PROTOCOL", "memcached gives no CAS ids; it must not run with -C");
}

/** The CAS id of what was written; undefined where it is gone again, by another's deed. */
const writtenCasOf = (reply: MemcachedAnswer): bigint | undefined =>
  reply.cas === undefined ? undefined : casOf(reply);

/** Gives the reply where it is an answer; trouble is thrown. */
function checked(reply: MemcachedReply): MemcachedAnswer {
  if (reply.status === "trouble") throw reply.error;
  return reply;
}

/** One session's trouble, and no reason to do without the node. */
const tooBusy = () =>
  new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "the key changes faster than it can be read", {
    isOfOnePart: true,
  });
