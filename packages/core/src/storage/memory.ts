import { type Clock, systemClock } from "../clock.js";
import { MsmError } from "../errors.js";
import { idleTimeoutMsOf, isTombstone, versionOf, writeIdOf } from "./record-prefix.js";
import { ReleaseListeners } from "./release-listeners.js";
import type { Lease, LoadOptions, LoadResult, SaveOptions, SaveResult, Storage } from "./storage.js";
import { checkKey } from "./storage-keys.js";

export interface MemoryStorageOptions {
  /** Where TTLs are read. Default: the machine's clock. */
  readonly clock?: Clock;
}

/**
 * A storage node in this process' memory: shares nothing, outlives nothing. For development, tests and single
 * processes. Rejects with MSM_ERR_CLOSED after `close()`, and with nothing else.
 */
export function memoryStorage(options: MemoryStorageOptions = {}): Storage {
  return new MemoryStorage(options.clock ?? systemClock);
}

/** Who has a lease, and whether another was refused it. */
interface Holder {
  readonly token: string;
  isWanted: boolean;
}

class MemoryStorage implements Storage {
  readonly kind = "memory";
  readonly #records: ExpiringMap<Uint8Array>;
  readonly #leases: ExpiringMap<Holder>;
  readonly #listeners = new ReleaseListeners();
  #closed = false;

  constructor(clock: Clock) {
    this.#records = new ExpiringMap(clock);
    this.#leases = new ExpiringMap(clock);
  }

  async load(key: string, options: LoadOptions = {}): Promise<LoadResult> {
    this.#check(key);
    const record = this.#records.get(key);
    if (!record) return { kind: "absent" };
    let isWanted = false;
    if (!isTombstone(record)) {
      if (options.lease) {
        const holder = this.#takeLease(key, options.lease);
        if (!holder) return { kind: "locked", retryAfterMs: this.#leases.remainingMs(key) };
        isWanted = holder.isWanted;
      }
      if (options.renewTtlMs !== undefined) {
        this.#records.expireIn(key, idleTimeoutMsOf(record) || options.renewTtlMs);
      }
    }
    const revision = { version: versionOf(record) };
    return { kind: "found", record: record.slice(), revision, ...(isWanted && { isWanted }) };
  }

  async save(key: string, record: Uint8Array, ttlMs: number, options: SaveOptions): Promise<SaveResult> {
    this.#check(key);
    const current = this.#records.get(key);
    const isOwnWrite = current !== undefined && writeIdOf(current) === writeIdOf(record);
    if (!isOwnWrite) {
      if (options.expect === "absent") {
        if (current) return { kind: "conflict" };
      } else {
        if (!current) return { kind: "gone" };
        if (isTombstone(current) || versionOf(current) !== options.expect.version)
          return { kind: "conflict" };
      }
      this.#records.set(key, record.slice(), ttlMs);
    }
    if (options.unlock !== undefined) this.#freeLease(key, options.unlock);
    return { kind: "stored", revision: { version: versionOf(record) } };
  }

  async putIfNewer(key: string, record: Uint8Array, ttlMs: number): Promise<boolean> {
    this.#check(key);
    const current = this.#records.get(key);
    if (current && versionOf(current) >= versionOf(record)) return false;
    this.#records.set(key, record.slice(), ttlMs);
    return true;
  }

  async touch(key: string, ttlMs: number): Promise<boolean> {
    this.#check(key);
    return this.#records.expireIn(key, ttlMs);
  }

  async renewLease(key: string, lease: Lease): Promise<boolean> {
    this.#check(key);
    return this.#leases.get(key)?.token === lease.token && this.#leases.expireIn(key, lease.ttlMs);
  }

  async unlock(key: string, token: string): Promise<boolean> {
    this.#check(key);
    return this.#freeLease(key, token);
  }

  onRelease(key: string, listener: () => void): () => void {
    return this.#closed ? () => {} : this.#listeners.add(key, listener);
  }

  async ping(): Promise<void> {
    this.#refuseIfClosed();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#records.clear();
    this.#leases.clear();
    this.#listeners.clear();
  }

  /** Gives who holds the lease now; undefined where it is another, who learns that somebody was refused. */
  #takeLease(key: string, lease: Lease): Holder | undefined {
    const holder = this.#leases.get(key) ?? { token: lease.token, isWanted: false };
    if (holder.token !== lease.token) {
      holder.isWanted = true;
      return undefined;
    }
    this.#leases.set(key, holder, lease.ttlMs);
    return holder;
  }

  #freeLease(key: string, token: string): boolean {
    const holder = this.#leases.get(key);
    if (holder?.token !== token) return false;
    this.#leases.delete(key);
    if (holder.isWanted) this.#listeners.tell(key);
    return true;
  }

  #check(key: string): void {
    this.#refuseIfClosed();
    checkKey(key);
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw new MsmError("MSM_ERR_CLOSED", "the memory storage is closed");
  }
}

/** A map whose entries end after their TTL. */
class ExpiringMap<T> {
  readonly #clock: Clock;
  readonly #entries = new Map<string, { readonly value: T; expiresAtMs: number }>();
  #sweep = this.#entries.entries();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(key: string): T | undefined {
    return this.#live(key)?.value;
  }

  set(key: string, value: T, ttlMs: number): void {
    this.#entries.set(key, { value, expiresAtMs: this.#clock.monotonicMs() + ttlMs });
    this.#sweepSome();
  }

  /** @returns false where there is no such entry */
  expireIn(key: string, ttlMs: number): boolean {
    const entry = this.#live(key);
    if (entry) entry.expiresAtMs = this.#clock.monotonicMs() + ttlMs;
    return entry !== undefined;
  }

  remainingMs(key: string): number {
    const entry = this.#live(key);
    return entry ? Math.ceil(entry.expiresAtMs - this.#clock.monotonicMs()) : 0;
  }

  delete(key: string): boolean {
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
  }

  #live(key: string) {
    const entry = this.#entries.get(key);
    if (!entry || entry.expiresAtMs > this.#clock.monotonicMs()) return entry;
    this.#entries.delete(key);
    return undefined;
  }

  /**
   * Each write looks at two entries, wherever the last one stopped. So what nobody asks for again leaves the memory
   * as fast as new entries come in, without a timer that would have to be ended.
   */
  #sweepSome(): void {
    for (let looked = 0; looked < 2; looked += 1) {
      const next = this.#sweep.next();
      if (next.done) {
        this.#sweep = this.#entries.entries();
        return;
      }
      const [key, entry] = next.value;
      if (entry.expiresAtMs <= this.#clock.monotonicMs()) this.#entries.delete(key);
    }
  }
}
