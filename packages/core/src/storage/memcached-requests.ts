import type { MsmError } from "../errors.js";

/** What is asked of memcached, in whichever protocol. `cas` 0 means: whatever its CAS id is. */
export type MemcachedRequest =
  | { readonly verb: "get"; readonly key: string }
  | { readonly verb: "getAndTouch" | "touch"; readonly key: string; readonly ttlMs: number }
  | {
      readonly verb: "set" | "add";
      readonly key: string;
      readonly value: Uint8Array;
      readonly ttlMs: number;
    }
  | {
      readonly verb: "replace";
      readonly key: string;
      readonly value: Uint8Array;
      readonly ttlMs: number;
      readonly cas: bigint;
    }
  | { readonly verb: "delete"; readonly key: string; readonly cas: bigint }
  | { readonly verb: "ping" };

/** What memcached answered. */
export type MemcachedReply = MemcachedAnswer | MemcachedTrouble;

export interface MemcachedAnswer {
  /** "exists": another CAS id is there, or for "add" anything. "notStored" means the same or "notFound". */
  readonly status: "ok" | "notFound" | "exists" | "notStored";
  /**
   * The CAS id of what is there: after a get, or of what a write put there. 0 where the server keeps none; undefined where
   * it is not known, because another replaced what was written before it could be asked.
   */
  readonly cas: bigint | undefined;
  readonly value: Buffer;
}

/** The server refused this request, and goes on with the others. */
interface MemcachedTrouble {
  readonly status: "trouble";
  readonly error: MsmError;
}

/** Reads a record with its CAS id. */
export const get = (key: string): MemcachedRequest => ({ verb: "get", key });

/** Reads a record, and lets its time to live start anew. */
export const getAndTouch = (key: string, ttlMs: number): MemcachedRequest => ({
  verb: "getAndTouch",
  key,
  ttlMs,
});

/** Stores, whatever is there. Not for records, see `replace()`. */
export const set = (key: string, value: Uint8Array, ttlMs: number): MemcachedRequest => ({
  verb: "set",
  key,
  value,
  ttlMs,
});

/** Stores where nothing is. */
export const add = (key: string, value: Uint8Array, ttlMs: number): MemcachedRequest => ({
  verb: "add",
  key,
  value,
  ttlMs,
});

/**
 * Stores where the CAS id is still this one. Never by a SET: memcached deletes what was there when it refuses a SET that
 * is too large, and keeps it when it refuses a REPLACE.
 */
export const replace = (key: string, value: Uint8Array, ttlMs: number, cas: bigint): MemcachedRequest => ({
  verb: "replace",
  key,
  value,
  ttlMs,
  cas,
});

/** Deletes where the CAS id is still this one. */
export const deleteIf = (key: string, cas: bigint): MemcachedRequest => ({ verb: "delete", key, cas });

/** Gives a new time to live; changes neither value nor CAS id. */
export const touch = (key: string, ttlMs: number): MemcachedRequest => ({ verb: "touch", key, ttlMs });

/** The cheapest question that every memcached answers. */
export const ping: MemcachedRequest = { verb: "ping" };

/**
 * A TTL as memcached wants it: whole seconds, rounded up; from 30 days on seconds since 1970, as it would take a larger
 * number for a time long ago.
 */
export function expiry(ttlMs: number, nowMs = Date.now()): number {
  const seconds = Math.max(1, Math.ceil(ttlMs / 1000));
  const thirtyDays = 30 * 24 * 60 * 60;
  return seconds <= thirtyDays ? seconds : Math.min(Math.floor(nowMs / 1000) + seconds, 0xffffffff);
}
