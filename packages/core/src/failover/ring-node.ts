import type { Clock } from "../clock.js";
import { MsmError } from "../errors.js";
import type { EventEmitter } from "../events.js";
import type { Storage } from "../storage/storage.js";
import type { NodeHealth } from "./health.js";

/** What a node's watch needs from outside. */
export interface RingNodeParts {
  readonly clock: Clock;
  readonly events: EventEmitter;
  readonly recordLife: RecordLife;
}

/**
 * How long a record may live unused: after that, nothing from before a fault is left on a node. Begins with the usual
 * idle timeout, and grows with the longest that a session of its own was seen to have.
 */
export interface RecordLife {
  longestMs: number;
}

const probeIntervalMs = 500;
const failuresUntilDown = 2;
const firstHoldDownMs = 1000;
const longestHoldDownMs = 30_000;
/** A node that stayed up for so long starts again with the first hold-down. */
const steadyAfterMs = 60_000;
const mostConfirmed = 10_000;

/**
 * One node of the ring with what is thought of it: a breaker that opens after two failures in a row, or after one that
 * a probe confirms at once; a probe every 500 ms on a connection of its own; a hold-down of 1, 2, 4 … 30 s for a node
 * that goes up and down. A node that was down, or may have restarted, is suspect: records there may be older than their
 * copies.
 */
export class RingNode {
  readonly id: string;
  readonly storage: Storage;
  readonly failoverOnly: boolean;
  readonly #parts: RingNodeParts;
  #failures = 0;
  #down: { readonly sinceMs: number; readonly holdUntilMs: number } | undefined;
  #upSinceMs: number;
  #holdDownMs = firstHoldDownMs;
  #suspectUntilMs = Number.NEGATIVE_INFINITY;
  #confirmed = new Set<string>();
  #probing: Promise<void> | undefined;
  /** What the last ping gave: stands for the node's run. */
  #run: unknown;
  #stopTimer: () => void = () => {};
  #closed = false;
  readonly #othersReachable: () => boolean;

  constructor(
    options: { id: string; storage: Storage; failoverOnly: boolean },
    parts: RingNodeParts,
    othersReachable: () => boolean,
  ) {
    this.id = options.id;
    this.storage = options.storage;
    this.failoverOnly = options.failoverOnly;
    this.#parts = parts;
    this.#othersReachable = othersReachable;
    this.#upSinceMs = parts.clock.monotonicMs();
    void this.#probe(); // a restart is known by what came before
    this.#probeLater();
  }

  /** False while it is known that asking would be in vain. */
  get reachable(): boolean {
    return this.#down === undefined;
  }

  /** False once it was out of reach for longer than any record lives: what it held has expired. */
  get mayHoldRecords(): boolean {
    return this.#down === undefined || this.#now() - this.#down.sinceMs < this.#parts.recordLife.longestMs;
  }

  get health(): NodeHealth {
    const down = this.#down;
    return {
      id: this.id,
      kind: this.storage.kind,
      state: down !== undefined ? "down" : this.#now() < this.#suspectUntilMs ? "suspect" : "up",
      downMs: down === undefined ? undefined : this.#now() - down.sinceMs,
    };
  }

  /** True where the record of this key may be older than its copy, as the node was down since it was last compared. */
  isSuspect(key: string): boolean {
    return this.#now() < this.#suspectUntilMs && !this.#confirmed.has(key);
  }

  /** Notes that the node has the newest record of this key. */
  confirm(key: string): void {
    if (this.#now() >= this.#suspectUntilMs) return;
    if (this.#confirmed.size >= mostConfirmed) this.#confirmed.clear(); // only costs a comparison again
    this.#confirmed.add(key);
  }

  /** Runs one operation and learns from how it went. Rejects as the operation does. */
  async run<T>(operation: (storage: Storage) => Promise<T>): Promise<T> {
    try {
      const result = await operation(this.storage);
      this.#failures = 0;
      return result;
    } catch (thrown) {
      const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
      this.#noteFailure(error);
      throw error;
    }
  }

  /** Asks the node now whether it answers. @returns whether it can be reached */
  async check(): Promise<boolean> {
    await this.#probe();
    return this.reachable;
  }

  /** Ends probing, and the storage's connections. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopTimer();
    await this.storage.close();
  }

  #noteFailure(error: MsmError): void {
    // A node that refuses a write still answers: its full memory is no reason not to read from it. Nor is one shard
    // that fails a reason to do without the others.
    if (this.#closed || error.code === "MSM_ERR_STORAGE_REFUSED" || error.isOfOnePart) return;
    this.#failures++;
    if (this.#down !== undefined) return;
    if (this.#failures >= failuresUntilDown) this.#goDown(error);
    else if (error.code !== "MSM_ERR_STORAGE_TIMEOUT") void this.#probe();
  }

  #probeLater(): void {
    if (this.#closed) return;
    this.#stopTimer = this.#parts.clock.after(probeIntervalMs, () => {
      void this.#probe().finally(() => this.#probeLater());
    });
  }

  #probe(): Promise<void> {
    this.#probing ??= this.#ping().finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  async #ping(): Promise<void> {
    let run: unknown;
    try {
      run = await this.storage.ping();
    } catch (thrown) {
      const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
      this.#failures++;
      if (this.#down === undefined && this.#failures >= failuresUntilDown) this.#goDown(error);
      return;
    }
    const restarted = this.#run !== undefined && run !== this.#run;
    this.#run = run;
    if (this.#down === undefined) {
      this.#failures = 0;
      if (restarted) this.#mayHaveRestarted();
    } else if (this.#now() >= this.#down.holdUntilMs || !this.#othersReachable())
      this.#comeUp(this.#down.sinceMs);
  }

  #goDown(error: MsmError): void {
    if (this.#closed) return;
    const now = this.#now();
    const steady = now - this.#upSinceMs >= steadyAfterMs;
    this.#holdDownMs = steady ? firstHoldDownMs : this.#holdDownMs;
    this.#down = { sinceMs: now, holdUntilMs: now + this.#holdDownMs };
    this.#holdDownMs = Math.min(this.#holdDownMs * 2, longestHoldDownMs);
    this.#parts.events.emit("nodeDown", { node: this.id, error });
  }

  /** It was gone for too short a time to be missed, and may be back empty, or with what it had saved of old. */
  #mayHaveRestarted(): void {
    this.#suspect();
    this.#parts.events.emit("nodeReconnected", { node: this.id });
  }

  #suspect(): void {
    this.#suspectUntilMs = this.#now() + this.#parts.recordLife.longestMs;
    this.#confirmed = new Set();
  }

  #comeUp(downSinceMs: number): void {
    const now = this.#now();
    this.#down = undefined;
    this.#failures = 0;
    this.#upSinceMs = now;
    this.#suspect();
    this.#parts.events.emit("nodeUp", { node: this.id, downMs: now - downSinceMs });
  }

  #now(): number {
    return this.#parts.clock.monotonicMs();
  }
}
