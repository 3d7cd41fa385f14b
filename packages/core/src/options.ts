import type { Clock } from "./clock.js";
import type { Codec } from "./codec/codec.js";
import type { SessionRequest } from "./life-cycle/exchange.js";
import type { MemcachedServerOptions } from "./storage/memcached-address.js";
import type { RedisServerOptions } from "./storage/redis-address.js";
import type { Storage } from "./storage/storage.js";

/** What `createSessionManager()` takes: the options of one mode, and those that both share. */
export type SessionManagerOptions = CommonOptions & (StickyOptions | NonStickyOptions);

/** Sessions live in the process that serves them, and are backed up on the nodes. */
export interface StickyOptions {
  readonly mode: "sticky";
  /** Names this process as the load balancer knows it, e.g. "app1": up to 32 of `A-Z a-z 0-9 _ -`. */
  readonly route: string;
  /**
   * "sync": the response waits until the session is stored on its node. "async": the response does not wait; what
   * changed less than `maxBackupLagMs` before the process is killed is lost. Default "sync".
   */
  readonly backup?: "sync" | "async";
  /** The longest a response waits for its backup, in milliseconds; then the request fails with 503. Default 1000. */
  readonly backupTimeoutMs?: number;
  /** With `backup: "async"`: the oldest change that may be unsaved before responses wait, in milliseconds. Default 250. */
  readonly maxBackupLagMs?: number;
  /** Sessions kept in memory; the least recently used leave once they are backed up. Default 100,000. */
  readonly maxLocalSessions?: number;
}

/** Sessions live on the nodes; any process serves any request. */
export interface NonStickyOptions {
  readonly mode?: "non-sticky";
}

export interface CommonOptions {
  /**
   * Signs cookies and seals records: at least 32 bytes. A list rotates: the first signs, all verify.
   * All processes need the same.
   */
  readonly secret: string | readonly string[];
  /**
   * The storage nodes in ring order, the same in all processes: `"n1:cache1:11211,n2:cache2:11211"` (commas, blanks
   * or both), `"redis://host"`, `"n1:redis://…,n2:redis://…"`, or objects. Nodes without an id are called n1, n2, … in
   * order. Default: one node in this process' memory, which shares nothing and outlives nothing.
   */
  readonly nodes?: string | readonly NodeOptions[];
  /** Ids of nodes that take sessions only while no other node can be reached. Default none. */
  readonly failoverNodes?: string | readonly string[];
  /**
   * False: nothing is stored, no node is connected to, and sessions live in the process that serves them, in either mode.
   * Default true.
   */
  readonly enabled?: boolean;
  /** First part of every storage key: up to 16 of `A-Z a-z 0-9 _ -`. Default "msm". */
  readonly keyPrefix?: string;
  readonly cookie?: CookieOptions;
  /** Milliseconds of inactivity after which a session expires. Default 30 minutes. */
  readonly idleTimeoutMs?: number;
  /** Milliseconds after its creation at which a session expires, however busy it is. Default: never. */
  readonly absoluteTimeoutMs?: number;
  /** How attribute values become bytes: "json", or a codec of your own. Default "json". */
  readonly codec?: "json" | Codec;
  /**
   * How requests of one session are kept apart. "optimistic": no lock, a version check and a merge per attribute.
   * "all": each request has its session to itself. "auto": each but those whose method and route were seen to only read.
   * A pattern or a predicate: those whose path, or which, it matches. "app": those that call `session.lock()`.
   * "none": neither lock nor merge, the whole session as it was saved last stands. Default "optimistic".
   */
  readonly locking?: LockingMode | RegExp | LockingPredicate;
  /**
   * What happens where two requests changed the same attribute. "last-write-wins" keeps the later one, with an event;
   * "fail" rejects the later one (409); a function gives the value to keep. Where a request locks, and under "auto",
   * "last-write-wins" means "fail". Default "last-write-wins".
   */
  readonly onConflict?: "last-write-wins" | "fail" | ConflictResolver;
  /**
   * What a request gets that has waited for its session for `lockTimeoutMs`. "error": 503 with Retry-After.
   * "optimistic": it goes on without a lock, under version check and merge. Default "error".
   */
  readonly onLockTimeout?: "error" | "optimistic";
  /** The longest a request waits for its session, in milliseconds. Default 2000. */
  readonly lockTimeoutMs?: number;
  /**
   * How long a lease outlives its holder, in milliseconds; while the holder lives it is renewed. What a crashed process
   * had locked is free after that. memcached can do no less than 3000. Default 3000.
   */
  readonly leaseTtlMs?: number;
  /** The longest a request keeps its session to itself, in milliseconds. Default 30,000. */
  readonly maxLeaseMs?: number;
  /**
   * What a request gets while its session cannot be read. "reject": `open()` rejects (503). "without-session": it has
   * no session, and no cookie is sent. Default "reject".
   */
  readonly onStorageError?: "reject" | "without-session";
  /** Deadline of each storage operation, in milliseconds. Default 250. */
  readonly operationTimeoutMs?: number;
  /** Largest record that is stored, in bytes. Default 524,288; memcached takes no more than 1 MiB. */
  readonly maxRecordBytes?: number;
  /** The longest `close()` waits for what is still to be saved, in milliseconds. Default 5000. */
  readonly closeTimeoutMs?: number;
  /** Where time is read. Default: the machine's clock. */
  readonly clock?: Clock;
}

/**
 * What `manager.reconfigure()` takes: the options that can be changed while sessions are served. What is left out, or
 * undefined, stays as it is. `route` goes with a change to `mode: "sticky"`.
 */
export type ChangeableOptions = Changeable<CommonOptions, ChangeableCommonName> &
  Changeable<StickyOptions, Exclude<keyof StickyOptions, "mode">> & {
    readonly mode?: "sticky" | "non-sticky" | undefined;
  };

type Changeable<T, Name extends keyof T> = { readonly [K in Name]?: T[K] | undefined };

type ChangeableCommonName = Exclude<
  keyof CommonOptions,
  "secret" | "keyPrefix" | "cookie" | "codec" | "clock"
>;

export type LockingMode = "optimistic" | "none" | "all" | "auto" | "app";

/** Decides which requests have their session to themselves. Must neither wait nor throw. */
export type LockingPredicate = (request: SessionRequest) => boolean;

/** Three values of one attribute, decoded; undefined where it is absent. */
export interface AttributeConflict {
  readonly name: string;
  readonly base: unknown;
  readonly mine: unknown;
  readonly theirs: unknown;
}

/** Decides a conflict. Returns the value to keep; undefined deletes the attribute. */
export type ConflictResolver = (conflict: AttributeConflict) => unknown;

export interface NodeOptions {
  /** Up to 16 of `A-Z a-z 0-9`; stands in cookies. Default n1, n2, … by position. */
  readonly id?: string;
  /**
   * `"host:port"` or `"memcached://user:password@host:port"` for memcached, `"memcacheds://…"` with TLS,
   * `"memcached+meta://…"` for its meta protocol; for Redis `"redis://user:password@host:port"`,
   * `"redis+sentinel://host:port,host:port/name"`, `"redis+cluster://host:port,host:port"`, the same with `rediss` for
   * TLS, or `"redis+unix:///path"`.
   */
  readonly url?: string;
  /**
   * With a `url` of Redis, or instead of it: what ioredis takes, e.g. `{ tls: { ca } }`, `{ sentinels, name }`; and
   * `{ cluster: ["host:port", …] }`. Default none.
   */
  readonly redis?: RedisServerOptions;
  /**
   * With a `url` of memcached: how the server is spoken to, e.g. `{ protocol: "meta", tls: { ca }, username, password }`.
   * Default none.
   */
  readonly memcached?: MemcachedServerOptions;
  /** Instead of `url`: a storage of your own. */
  readonly storage?: Storage;
}

export interface CookieOptions {
  /** Default "sid". `__Host-sid` is best where all is HTTPS. */
  readonly name?: string;
  /** Default "/". */
  readonly path?: string;
  /** Default none: the host that set it, and no other. */
  readonly domain?: string;
  /** Default true. */
  readonly httpOnly?: boolean;
  /** "auto": as the request came in. Default "auto". */
  readonly secure?: boolean | "auto";
  /** Default "lax". */
  readonly sameSite?: "strict" | "lax" | "none" | false;
  /** Milliseconds the browser keeps the cookie. Default: until it is closed. */
  readonly maxAgeMs?: number;
  /** Default false. */
  readonly partitioned?: boolean;
  readonly priority?: "low" | "medium" | "high";
}

/** The options with every default filled in. */
export interface ResolvedOptions {
  readonly mode: { readonly kind: "non-sticky" } | ResolvedStickyOptions;
  readonly secrets: readonly string[];
  readonly keyPrefix: string;
  readonly cookie: ResolvedCookieOptions;
  readonly idleTimeoutMs: number;
  readonly absoluteTimeoutMs: number | undefined;
  readonly codec: Codec;
  readonly locking: ResolvedLocking<SessionRequest>;
  /** What a save does that meets a newer version: merge with it, or stand in its place. */
  readonly saves: "merged" | "whole";
  readonly onLockTimeout: "error" | "optimistic";
  readonly lockTimeoutMs: number;
  readonly leaseTtlMs: number;
  readonly maxLeaseMs: number;
  readonly onConflict: "last-write-wins" | "fail" | ConflictResolver;
  readonly onStorageError: "reject" | "without-session";
  readonly operationTimeoutMs: number;
  readonly maxRecordBytes: number;
  readonly closeTimeoutMs: number;
  readonly enabled: boolean;
  readonly clock: Clock;
}

/** Which requests lock from their start. */
export type ResolvedLocking<R> =
  | { readonly kind: "never" | "all" | "auto" }
  | { readonly kind: "where"; readonly locks: (request: R) => boolean };

/** The options of the sticky mode with every default filled in. */
export interface ResolvedStickyOptions {
  readonly kind: "sticky";
  readonly route: string;
  readonly backup: "sync" | "async";
  readonly backupTimeoutMs: number;
  readonly maxBackupLagMs: number;
  readonly maxLocalSessions: number;
}

/** The cookie's options with every default filled in. */
export interface ResolvedCookieOptions {
  readonly name: string;
  readonly path: string;
  readonly domain: string | undefined;
  readonly httpOnly: boolean;
  readonly secure: boolean | "auto";
  readonly sameSite: "strict" | "lax" | "none" | false;
  readonly maxAgeMs: number | undefined;
  readonly partitioned: boolean;
  readonly priority: "low" | "medium" | "high" | undefined;
}
