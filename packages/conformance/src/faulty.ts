import {
  type Lease,
  type LoadOptions,
  type LoadResult,
  MsmError,
  type MsmErrorCode,
  type SaveOptions,
  type SaveResult,
  type Storage,
} from "@msm/core";

/** What a storage can be asked; `close` is not counted. */
export type StorageVerb = "load" | "save" | "putIfNewer" | "touch" | "renewLease" | "unlock" | "ping";

/** One call that reached a faulty storage, whether it was let through or not. `ping` has no key. */
export interface StorageCall {
  readonly verb: StorageVerb;
  readonly key: string | undefined;
}

/** A storage node that fails on command. */
export interface FaultyStorage extends Storage {
  /** From now on every call rejects with MSM_ERR_STORAGE_UNAVAILABLE, and does nothing. */
  goDown(): void;
  /** From now on every call does nothing, and rejects with MSM_ERR_STORAGE_TIMEOUT, after `afterMs` (default 0). */
  hang(afterMs?: number): void;
  /** From now on every call is carried out, and rejects with MSM_ERR_STORAGE_TIMEOUT all the same. */
  loseReplies(): void;
  /** From now on every call rejects with MSM_ERR_STORAGE_TIMEOUT; writes are carried out by `applyHeldWrites()`. */
  holdWrites(): void;
  /** Carries out, in their order, the writes that `holdWrites()` kept back: the late effect of a timed-out write. */
  applyHeldWrites(): Promise<void>;
  /** The next `count` calls reject with `code` (default MSM_ERR_STORAGE_UNAVAILABLE), and do nothing. */
  failNext(count: number, code?: MsmErrorCode): void;
  /** The next call is carried out, and rejects with MSM_ERR_STORAGE_TIMEOUT all the same. */
  loseNextReply(): void;
  /** From now on calls of this verb reject with MSM_ERR_STORAGE_TIMEOUT, and do nothing; the others are let through. */
  hangOn(verb: StorageVerb): void;
  /** Ends whichever fault there is. Held writes stay held. */
  comeBack(): void;
  /** Comes back as another storage, usually an empty one: the node was restarted. */
  restartAs(storage: Storage): void;
  /** Goes on as another storage, usually an empty one: what the node had was deleted, and no connection was lost. */
  emptyAs(storage: Storage): void;
  /**
   * Every call since the start, or since `forgetCalls()`. Processes' notices to each other are neither listed nor counted,
   * and take no failure from a test that told the next calls to fail.
   */
  readonly calls: readonly StorageCall[];
  /** How often each verb was called since the start, or since `forgetCalls()`. */
  counts(): Record<StorageVerb, number>;
  forgetCalls(): void;
}

type Fault = "none" | "down" | "hanging" | "losing-replies" | "holding-writes";

/** Marks the keys of what processes tell each other: read by a timer, and so at any time. */
const noticeMark = ":{notices:";

const verbs: readonly StorageVerb[] = ["load", "save", "putIfNewer", "touch", "renewLease", "unlock", "ping"];

/** Wraps a storage, so that a test can let it fail and count what it was asked. */
export function faulty(storage: Storage): FaultyStorage {
  return new FaultyWrapper(storage);
}

class FaultyWrapper implements FaultyStorage {
  readonly kind: string;
  /** There where the storage has it; no call of it is counted, and nobody is told anything while a fault lasts. */
  readonly onRelease?: (key: string, listener: () => void) => () => void;
  #storage: Storage;
  /** Stands for the node's run. */
  #run = {};
  #fault: Fault = "none";
  #hangMs = 0;
  #hangsOn: StorageVerb | undefined;
  #losesNextReply = false;
  #failNext: MsmErrorCode[] = [];
  #held: (() => Promise<unknown>)[] = [];
  #calls: StorageCall[] = [];

  constructor(storage: Storage) {
    this.#storage = storage;
    this.kind = storage.kind;
    if (storage.onRelease) this.onRelease = (key, listener) => this.#listen(key, listener);
  }

  load(key: string, options?: LoadOptions): Promise<LoadResult> {
    return this.#pass("load", key, () => this.#storage.load(key, options));
  }

  save(key: string, record: Uint8Array, ttlMs: number, options: SaveOptions): Promise<SaveResult> {
    return this.#pass("save", key, () => this.#storage.save(key, record, ttlMs, options));
  }

  putIfNewer(key: string, record: Uint8Array, ttlMs: number): Promise<boolean> {
    return this.#pass("putIfNewer", key, () => this.#storage.putIfNewer(key, record, ttlMs));
  }

  touch(key: string, ttlMs: number): Promise<boolean> {
    return this.#pass("touch", key, () => this.#storage.touch(key, ttlMs));
  }

  renewLease(key: string, lease: Lease): Promise<boolean> {
    return this.#pass("renewLease", key, () => this.#storage.renewLease(key, lease));
  }

  unlock(key: string, token: string): Promise<boolean> {
    return this.#pass("unlock", key, () => this.#storage.unlock(key, token));
  }

  async ping(): Promise<unknown> {
    await this.#pass("ping", undefined, () => this.#storage.ping());
    return this.#run;
  }

  get run(): unknown {
    return this.#run;
  }

  close(): Promise<void> {
    return this.#storage.close();
  }

  goDown(): void {
    this.#fault = "down";
  }

  hang(afterMs = 0): void {
    this.#fault = "hanging";
    this.#hangMs = afterMs;
  }

  loseReplies(): void {
    this.#fault = "losing-replies";
  }

  holdWrites(): void {
    this.#fault = "holding-writes";
  }

  async applyHeldWrites(): Promise<void> {
    for (const write of this.#held.splice(0)) await write();
  }

  failNext(count: number, code: MsmErrorCode = "MSM_ERR_STORAGE_UNAVAILABLE"): void {
    this.#failNext = new Array<MsmErrorCode>(count).fill(code);
  }

  loseNextReply(): void {
    this.#losesNextReply = true;
  }

  hangOn(verb: StorageVerb): void {
    this.#hangsOn = verb;
  }

  comeBack(): void {
    this.#fault = "none";
    this.#hangsOn = undefined;
    this.#losesNextReply = false;
    this.#failNext = [];
  }

  restartAs(storage: Storage): void {
    this.#run = {};
    this.emptyAs(storage);
    this.comeBack();
  }

  emptyAs(storage: Storage): void {
    this.#storage = storage;
  }

  get calls(): readonly StorageCall[] {
    return this.#calls;
  }

  counts(): Record<StorageVerb, number> {
    const count = (verb: StorageVerb) => this.#calls.filter((call) => call.verb === verb).length;
    return Object.fromEntries(verbs.map((verb) => [verb, count(verb)])) as Record<StorageVerb, number>;
  }

  forgetCalls(): void {
    this.#calls = [];
  }

  #listen(key: string, listener: () => void): () => void {
    const tell = () => {
      if (this.#fault === "none") listener();
    };
    return this.#storage.onRelease?.(key, tell) ?? (() => {});
  }

  async #pass<T>(verb: StorageVerb, key: string | undefined, run: () => Promise<T>): Promise<T> {
    if (key?.includes(noticeMark) === true) return this.#underFault(verb, run);
    this.#calls.push({ verb, key });
    const code = this.#failNext.shift();
    if (code) throw new MsmError(code, `${verb} was told to fail`);
    if (verb === this.#hangsOn) throw new MsmError("MSM_ERR_STORAGE_TIMEOUT", `${verb}: the node hangs`);
    if (this.#losesNextReply) {
      this.#losesNextReply = false;
      await run();
      throw new MsmError("MSM_ERR_STORAGE_TIMEOUT", `${verb}: the reply was lost`);
    }
    return this.#underFault(verb, run);
  }

  async #underFault<T>(verb: StorageVerb, run: () => Promise<T>): Promise<T> {
    switch (this.#fault) {
      case "none":
        return run();
      case "down":
        throw new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", `${verb}: the node is down`);
      case "hanging":
        if (this.#hangMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#hangMs));
        throw new MsmError("MSM_ERR_STORAGE_TIMEOUT", `${verb}: the node hangs`);
      case "losing-replies":
        await run();
        throw new MsmError("MSM_ERR_STORAGE_TIMEOUT", `${verb}: the reply was lost`);
      case "holding-writes":
        if (verb !== "load" && verb !== "ping") this.#held.push(run);
        throw new MsmError("MSM_ERR_STORAGE_TIMEOUT", `${verb}: the request is on its way`);
    }
  }
}
