export type { Clock } from "./clock.js";
export { systemClock } from "./clock.js";
export type { Codec } from "./codec/codec.js";
export { jsonCodec } from "./codec/json.js";
export type { CarriedSession, SessionTokens } from "./cookie/session-tokens.js";
export type { MsmErrorCode, MsmErrorOptions } from "./errors.js";
export { MsmError } from "./errors.js";
export type { SessionEvents, Unsubscribe } from "./events.js";
export type { ManagerHealth, NodeHealth } from "./failover/health.js";
export type {
  CommitOptions,
  CommitResult,
  CookieRequest,
  SessionExchange,
  SessionRequest,
} from "./life-cycle/exchange.js";
export type { CloseOptions, SessionManager, WorkOptions } from "./manager.js";
export { createSessionManager } from "./manager.js";
export { longestTimeMs } from "./milliseconds.js";
export type {
  AttributeConflict,
  ChangeableOptions,
  CommonOptions,
  ConflictResolver,
  CookieOptions,
  LockingMode,
  LockingPredicate,
  NodeOptions,
  NonStickyOptions,
  ResolvedCookieOptions,
  SessionManagerOptions,
  StickyOptions,
} from "./options.js";
export type {
  Attributes,
  KeptAttributes,
  MemberRules,
  RegenerateOptions,
  Session,
} from "./session/session.js";
export type { SessionStats } from "./stats.js";
export type { MemcachedStorageOptions } from "./storage/memcached.js";
export { memcachedStorage } from "./storage/memcached.js";
export type { MemcachedProtocol, MemcachedServerOptions, MemcachedTls } from "./storage/memcached-address.js";
export type { MemoryStorageOptions } from "./storage/memory.js";
export { memoryStorage } from "./storage/memory.js";
export {
  idleTimeoutMsOf,
  isTombstone,
  recordPrefixBytes,
  tombstoneVersion,
  versionOf,
  writeIdOf,
} from "./storage/record-prefix.js";
export type { RedisStorageOptions } from "./storage/redis.js";
export { redisStorage } from "./storage/redis.js";
export type { RedisServerOptions } from "./storage/redis-address.js";
export type {
  Lease,
  LoadOptions,
  LoadResult,
  Revision,
  SaveOptions,
  SaveResult,
  Storage,
} from "./storage/storage.js";
