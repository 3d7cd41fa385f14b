/**
 * One storage node: a memcached or Redis server, a Redis deployment, or this process' memory.
 *
 * What a storage must guarantee:
 * - Absence is a value, trouble is an exception: a missing record is `absent` or `gone`; a node that cannot be
 *   reached, hangs or answers nonsense rejects with an MsmError whose code begins with `MSM_ERR_STORAGE_`.
 * - Every promise settles, at the latest after the storage's operation timeout; it runs from when the client library is
 *   loaded.
 * - A rejected write may have been applied, or be applied later. Every verb is therefore safe to repeat: a save that
 *   finds its own writeId in place answers `stored`, a lease that is already the caller's is had.
 * - Records are opaque but for their first bytes, see `record-prefix.ts`.
 * - Keys are 1 to 78 characters of `A-Z a-z 0-9 _ - : { }`, others are refused with MSM_ERR_STORAGE_REFUSED; the lease
 *   of a key lies beside its record.
 * - TTLs are milliseconds above 0; a storage that counts in seconds rounds up.
 */
export interface Storage {
  /** Names the kind in messages, e.g. "redis". */
  readonly kind: string;

  /**
   * Reads a record in one round trip.
   *
   * With `lease`, takes the lease of the key for `lease.token` as well: `locked` where another holds it, and then
   * no record is given. Where there is no live record (absent, or a tombstone) no lease is taken.
   * A refusal leaves a mark on the lease. The holder learns of it as `isWanted` at its next load with the same token,
   * which is how a process hands the lease from one of its requests to the next. The mark goes with the lease; a storage
   * may forget it earlier, some seconds after the last refusal.
   * With `renewTtlMs`, the record's time to live starts anew: its own idle timeout where its prefix names one, else
   * `renewTtlMs`, which should be the usual one (memcached has to know a time before it sees the record).
   * A tombstone is given like any record.
   */
  load(key: string, options?: LoadOptions): Promise<LoadResult>;

  /**
   * Writes a record under a version check, and with `unlock` gives the lease back in the same step, where it is
   * still the token's and the record was stored.
   * - `stored`: the record is in place, or was already (same writeId).
   * - `conflict`: a record of another version is there; for `expect: "absent"` any record.
   * - `gone`: nothing is there, though `expect` named a revision. Deleted, evicted, expired or restarted empty.
   */
  save(key: string, record: Uint8Array, ttlMs: number, options: SaveOptions): Promise<SaveResult>;

  /**
   * Writes a record where none of its version or above is there: copies, repairs, tombstones.
   * @returns whether the record was written; false also where it was there before
   */
  putIfNewer(key: string, record: Uint8Array, ttlMs: number): Promise<boolean>;

  /** Gives a record a new time to live. @returns false where there is none */
  touch(key: string, ttlMs: number): Promise<boolean>;

  /** Gives the lease of a key a new time to live, where the token holds it. @returns whether it does */
  renewLease(key: string, lease: Lease): Promise<boolean>;

  /** Frees the lease of a key where the token holds it; another's is left alone. @returns whether the token held it */
  unlock(key: string, token: string): Promise<boolean>;

  /**
   * Calls `listener` when the lease of the key was given back, by `unlock` or by a save with `unlock`, after somebody
   * was refused it. May miss some and may call in vain, so callers poll as well. Never rejects, never throws.
   * Not there where the storage has no way to tell.
   * @returns what ends it; safe to call twice
   */
  onRelease?(key: string, listener: () => void): () => void;

  /**
   * Resolves where the node answers, on a connection of its own: a busy one must not look dead.
   * @returns what stands for the node's run, the same at each call while it surely did not restart: the node's own name
   *   for it, or the connection, as that does not outlive the node. Another one tells that what the node holds may be
   *   gone, or old.
   */
  ping(): Promise<unknown>;

  /**
   * What stands for the run of the node that has given the last answer to any other verb, as `ping()` gives it; undefined
   * while nothing is known. Who reads it behind an answer learns with that answer that the node restarted.
   * Not there where a node that restarts never has anything old: then the next `ping()` is early enough.
   */
  readonly run?: unknown;

  /** Ends connections and timers; outstanding and later operations reject, with MSM_ERR_CLOSED. Safe to call twice. */
  close(): Promise<void>;
}

/** A lock with its owner's token and the time after which it frees itself. */
export interface Lease {
  /** At least 96 random bits, as `A-Z a-z 0-9 _ -`. */
  readonly token: string;
  readonly ttlMs: number;
}

export interface LoadOptions {
  readonly lease?: Lease | undefined;
  readonly renewTtlMs?: number | undefined;
}

export type LoadResult =
  | {
      readonly kind: "found";
      readonly record: Uint8Array;
      readonly revision: Revision;
      /** With a lease that was already the token's: another was refused it meanwhile, and waits. */
      readonly isWanted?: true;
    }
  | { readonly kind: "absent" }
  /** `retryAfterMs`: the lease ends by itself by then, unless it is renewed; mostly it is given back earlier. */
  | { readonly kind: "locked"; readonly retryAfterMs: number };

/**
 * What `save` needs in order to know the record it replaces. From `load` or `save` of the same storage; storages may
 * return more in it than the version (memcached: the CAS id and the connection it was read on).
 */
export interface Revision {
  readonly version: string;
}

export interface SaveOptions {
  readonly expect: Revision | "absent";
  /** Token of the lease that is given back with the save. */
  readonly unlock?: string | undefined;
}

export type SaveResult =
  | { readonly kind: "stored"; readonly revision: Revision }
  | { readonly kind: "conflict" }
  | { readonly kind: "gone" };
