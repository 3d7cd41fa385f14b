import type { Clock } from "../clock.js";
import { MsmError, type MsmErrorCode } from "../errors.js";
import type { EventEmitter } from "../events.js";
import type { Storage } from "../storage/storage.js";
import type { NodeCondition, NodeHealth } from "./health.js";
import { Latency } from "./latency.js";

/** What a node's watch needs from outside. */
export interface RingNodeParts {
  readonly clock: Clock;
  readonly events: EventEmitter;
  readonly recordLife: RecordLife;
  /** May change. */
  readonly limits: { readonly operationTimeoutMs: number };
}

/** What a node asks of the others in its ring. */
export interface Neighbour {
  readonly reachable: boolean;
  /** Asks it now. @returns whether it answers, and fast enough */
  answersInTime(): Promise<boolean>;
  /** Asks it now, where it is down. @returns what lets it come up, if it answers */
  findBack(): Promise<ComeUp | undefined>;
}

/** Takes a node for up. @returns what tells others of it */
type ComeUp = () => () => void;

/**
 * How long a record may live unused: after that, nothing from before a fault is left on a node. Begins with the usual
 * idle timeout, and grows with the longest that a session of its own was seen to have.
 */
export interface RecordLife {
  longestMs: number;
}

/** A node as it is put into the ring. */
export interface RingNodeOptions {
  readonly id: string;
  readonly storage: Storage;
  readonly failoverOnly: boolean;
  /**
   * "late": others may have used it before, so that what it has may be older than its copies. "never": nothing is stored at
   * present, and it is not asked for anything. Default "early": with the start of the process.
   */
  readonly joins?: "early" | "late" | "never";
}

const probeIntervalMs = 500;
const failuresUntilDown = 2;
const firstHoldDownMs = 1000;
const longestHoldDownMs = 30_000;
/** A node that stayed up for so long starts again with the first hold-down. */
const steadyAfterMs = 60_000;
/** A node that was down because it was slow has to be fast for so long. */
const slowHoldDownMs = 5000;
const mostConfirmed = 10_000;
const quietMs = 100;

/**
 * One node of the ring with what is thought of it: a breaker that opens after two failures in a row, or after one that
 * a probe confirms at once; a probe every 500 ms on a connection of its own; a hold-down of 1, 2, 4 … 30 s for a node
 * that goes up and down. One that answers, but takes more than half of the operation timeout for most of 20 operations,
 * is down as well, where another is faster, until it has been fast for 5 s. A node that was down, or may have restarted,
 * is suspect: records there may be older than their copies.
 */
export class RingNode {
  readonly id: string;
  #storage: Storage;
  /** Changed by the ring alone. */
  failoverOnly: boolean;
  readonly #parts: RingNodeParts;
  readonly #isOff: boolean;
  #failures = 0;
  #lastError: MsmErrorCode | undefined;
  #down: { readonly sinceMs: number; readonly isSlow: boolean; holdUntilMs: number } | undefined;
  readonly #latency = new Latency();
  #isJudged = false;
  #pingMs = 0;
  /** Whether the last probe was answered. */
  #hasAnswered = false;
  /** Since when it is no member of the ring any more; undefined while it is. */
  #leftMs: number | undefined;
  #upSinceMs: number;
  #suspectSinceMs = Number.NEGATIVE_INFINITY;
  #holdDownMs = firstHoldDownMs;
  #suspectUntilMs = Number.NEGATIVE_INFINITY;
  #confirmed = new Set<string>();
  #probing: Promise<boolean> | undefined;
  /** What stands for the node's run, as the last ping gave it, and as it was with the last answer to anything else. */
  #runs: { ping?: unknown; operation?: unknown } = {};
  #stopTimer: () => void = () => {};
  #closed = false;
  #isRetired = false;
  #operations = 0;
  #noteIdle: () => void = () => {};
  readonly #others: () => readonly Neighbour[];

  /** @param others the other members of the ring at the time */
  constructor(options: RingNodeOptions, parts: RingNodeParts, others: () => readonly Neighbour[]) {
    const { joins = "early" } = options;
    this.id = options.id;
    this.#storage = options.storage;
    this.failoverOnly = options.failoverOnly;
    this.#parts = parts;
    this.#others = others;
    this.#upSinceMs = parts.clock.monotonicMs();
    this.#isOff = joins === "never";
    if (this.#isOff) {
      const sinceMs = Number.NEGATIVE_INFINITY;
      this.#down = { sinceMs, isSlow: false, holdUntilMs: Number.POSITIVE_INFINITY };
      return;
    }
    if (joins === "late") this.#suspect();
    void this.#probe(); // a restart is known by what came before
    this.#probeLater();
  }

  get storage(): Storage {
    return this.#storage;
  }

  /** False while it is known that asking would be in vain. */
  get reachable(): boolean {
    return this.#down === undefined;
  }

  /** Whether nothing is held against it: it can be reached, and what it has need not be compared. */
  get isSound(): boolean {
    return this.#down === undefined && this.#now() >= this.#suspectUntilMs;
  }

  /** Whether it may be given what it missed: also while it is held down, as long as it answers probes. */
  get takesRecords(): boolean {
    return this.reachable || (this.#hasAnswered && !this.#isOff);
  }

  /** False once it was out of reach for longer than any record lives: what it held has expired. */
  get mayHoldRecords(): boolean {
    return this.#down === undefined || this.#now() - this.#down.sinceMs < this.#parts.recordLife.longestMs;
  }

  /** Whether it is no member of the ring any more. */
  get isLeaving(): boolean {
    return this.#leftMs !== undefined;
  }

  /** For how long it has been out of reach; 0 where it can be reached. */
  get downMs(): number {
    return this.#down === undefined ? 0 : this.#now() - this.#down.sinceMs;
  }

  get health(): NodeCondition {
    const state = this.#state;
    return {
      id: this.id,
      kind: this.#storage.kind,
      role: this.failoverOnly ? "failover" : "ordinary",
      state,
      forMs: this.#now() - this.#sinceMs(state),
      lastError: this.#lastError,
    };
  }

  get #state(): NodeHealth["state"] {
    if (this.#isOff) return "off";
    if (this.#leftMs !== undefined) return "leaving";
    if (this.#down !== undefined) return "down";
    return this.#now() < this.#suspectUntilMs ? "suspect" : "up";
  }

  #sinceMs(state: NodeHealth["state"]): number {
    if (state === "leaving") return this.#leftMs ?? this.#upSinceMs;
    if (state === "down") return this.#down?.sinceMs ?? this.#upSinceMs;
    if (state === "suspect") return this.#suspectSinceMs;
    return Math.max(this.#upSinceMs, this.#suspectUntilMs);
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
  run<T>(operation: (storage: Storage) => Promise<T>): Promise<T> {
    this.#operations++;
    const startedMs = this.#now();
    const running = this.#isRetired ? Promise.reject(retiredError(this.id)) : begun(operation, this.#storage);
    return running.then(
      (result) => {
        this.#noteAnswer();
        this.#noteDone(startedMs);
        return result;
      },
      (thrown: unknown) => {
        const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
        this.#noteFailure(error);
        this.#noteDone(startedMs);
        throw error;
      },
    );
  }

  /** Asks the node now whether it answers. @returns whether it can be reached */
  async check(): Promise<boolean> {
    await this.answers();
    return this.reachable;
  }

  /** Asks the node now. @returns whether it answered, also where it is held down for a while yet */
  async answers(): Promise<boolean> {
    return !this.#isOff && (await this.#probe());
  }

  /** Asks the node now. @returns whether it answers, and fast enough */
  async answersInTime(): Promise<boolean> {
    return (await this.check()) && this.#pingMs <= this.#slowMs;
  }

  /** Finds out whether it can be reached: asks once more where it does not answer. */
  async getReady(): Promise<void> {
    for (let pings = 0; pings < failuresUntilDown && this.reachable; pings++) await this.#probe();
  }

  /** It is no member of the ring any more: nobody is told of its troubles, as whoever took it out knows of them. */
  leave(): void {
    this.#leftMs = this.#now();
  }

  /** It is a member of the ring again, and may have missed what was written since it left. */
  rejoin(): void {
    if (this.#leftMs === undefined) return;
    this.#leftMs = undefined;
    this.#suspect();
  }

  /** Asks the same server by another storage from now on; the one it had closes when it has answered. */
  goOnWith(storage: Storage): void {
    const former = this.#storage;
    this.#storage = storage;
    this.#runs = {}; // another connection, and no sign of a restart
    void this.#quiet().then(() => former.close());
  }

  /**
   * Ends once what is under way has been answered: from then on it is out of reach.
   * @param closes whether its connections end as well
   */
  async retire({ closes }: { readonly closes: boolean }): Promise<void> {
    this.leave();
    await this.#quiet();
    this.#isRetired = true;
    this.#closed = true;
    this.#stopTimer();
    if (closes) await this.#storage.close();
  }

  /** Resolves when nothing was asked for a moment: who does several things begins the next one when the last is done. */
  async #quiet(): Promise<void> {
    do {
      await this.#idle();
      await new Promise<void>((resolve) => void this.#parts.clock.after(quietMs, resolve));
    } while (this.#operations > 0);
  }

  async #idle(): Promise<void> {
    if (this.#operations === 0) return;
    await new Promise<void>((resolve) => {
      this.#noteIdle = resolve;
    });
  }

  /** Ends probing, and the storage's connections. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopTimer();
    await this.#storage.close();
  }

  #noteAnswer(): void {
    this.#failures = 0;
    if (this.#noteRun("operation", this.#storage.run)) this.mayHaveLostRecords();
  }

  #noteDone(startedMs: number): void {
    this.#noteLatency(this.#now() - startedMs);
    if (--this.#operations === 0) this.#noteIdle();
  }

  #noteFailure(error: MsmError): void {
    // A node that refuses a write still answers: its full memory is no reason not to read from it. Nor is one shard
    // that fails a reason to do without the others.
    if (this.#closed || error.code === "MSM_ERR_STORAGE_REFUSED" || error.isOfOnePart) return;
    this.#lastError = error.code;
    // One that is leaving counts as empty once it is down, and so must not be taken for down while it answers at all.
    if (this.#leftMs !== undefined) return void this.#probe();
    this.#failures++;
    if (this.#down !== undefined) return;
    if (this.#failures >= failuresUntilDown) this.#goDown(error);
    else if (error.code !== "MSM_ERR_STORAGE_TIMEOUT") void this.#probe();
  }

  /** An operation that takes longer is slow. */
  get #slowMs(): number {
    return this.#parts.limits.operationTimeoutMs / 2;
  }

  #noteLatency(tookMs: number): void {
    const isSlow = tookMs > this.#slowMs;
    this.#latency.note(isSlow);
    const mayJudge =
      this.#down === undefined && this.#leftMs === undefined && !this.#isJudged && !this.#closed;
    if (isSlow && mayJudge && this.#latency.isSlow) void this.#judgeLatency();
  }

  /** A process that is busy or stood still finds all nodes slow: then none of them is. */
  async #judgeLatency(): Promise<void> {
    this.#isJudged = true;
    const others = this.#others().filter((other) => other.reachable);
    const [isFast, ...othersAre] = await Promise.all([this, ...others].map((node) => node.answersInTime()));
    this.#isJudged = false;
    this.#latency.forget();
    if (isFast || !othersAre.includes(true) || this.#down !== undefined) return;
    const error = new MsmError(
      "MSM_ERR_STORAGE_TIMEOUT",
      `node ${this.id} takes more than ${this.#slowMs} ms for most of what it is asked`,
    );
    this.#goDown(error, { isSlow: true });
  }

  #probeLater(): void {
    if (this.#closed) return;
    this.#stopTimer = this.#parts.clock.after(probeIntervalMs, () => {
      void this.#probe().finally(() => this.#probeLater());
    });
  }

  #probe(): Promise<boolean> {
    this.#probing ??= this.#ping().finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  /** @returns whether it answered */
  async #ping(): Promise<boolean> {
    let run: unknown;
    const startedMs = this.#now();
    try {
      run = await this.#storage.ping();
    } catch (thrown) {
      const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
      if (this.#closed) return false;
      this.#hasAnswered = false;
      this.#lastError = error.code;
      this.#failures++;
      if (this.#down === undefined && this.#failures >= failuresUntilDown) this.#goDown(error);
      return false;
    }
    const isAnother = this.#noteRun("ping", run);
    this.#hasAnswered = true;
    this.#pingMs = this.#now() - startedMs;
    if (this.#down?.isSlow === true && this.#pingMs > this.#slowMs)
      this.#down.holdUntilMs = Math.max(this.#down.holdUntilMs, this.#now() + slowHoldDownMs);
    if (this.#down === undefined) {
      this.#failures = 0;
      if (isAnother) this.mayHaveLostRecords();
    } else if (this.isLeaving) this.#comeUp()();
    else if (!this.#areOthersReachable) await this.#comeUpWithOthers();
    else if (this.#now() >= this.#down.holdUntilMs) this.#comeUp()();
    return true;
  }

  /**
   * None could be reached, and one is back: most likely they all are, and other processes know it already. Sessions that
   * went on with this one alone would be changed in two places.
   */
  async #comeUpWithOthers(): Promise<void> {
    const others = await Promise.all(this.#others().map((other) => other.findBack()));
    const tell = [() => this.#comeUp(), ...others].map((comeUp) => comeUp?.());
    for (const told of tell) told?.();
  }

  /** Asks the node now, where it is down. @returns what lets it come up, if it answers */
  async findBack(): Promise<ComeUp | undefined> {
    if (this.#down === undefined) return undefined;
    try {
      this.#noteRun("ping", await this.#storage.ping());
      return () => this.#comeUp();
    } catch {
      return undefined; // its own probe notes why
    }
  }

  get #areOthersReachable(): boolean {
    return this.#others().some((other) => other.reachable);
  }

  #goDown(error: MsmError, { isSlow } = { isSlow: false }): void {
    if (this.#closed) return;
    const now = this.#now();
    const steady = now - this.#upSinceMs >= steadyAfterMs;
    this.#holdDownMs = steady ? firstHoldDownMs : this.#holdDownMs;
    this.#lastError = error.code;
    this.#hasAnswered = false;
    const holdDownMs = isSlow ? Math.max(this.#holdDownMs, slowHoldDownMs) : this.#holdDownMs;
    this.#down = { sinceMs: now, isSlow, holdUntilMs: now + holdDownMs };
    this.#holdDownMs = Math.min(this.#holdDownMs * 2, longestHoldDownMs);
    if (this.#leftMs === undefined) this.#parts.events.emit("nodeDown", { node: this.id, error });
  }

  /** @returns whether the node's run is another than it was, and nobody has said so yet */
  #noteRun(by: "ping" | "operation", run: unknown): boolean {
    const former = this.#runs[by];
    const isToldAlready = run === this.#runs[by === "ping" ? "operation" : "ping"];
    this.#runs[by] = run;
    return former !== undefined && run !== former && !isToldAlready;
  }

  /**
   * It was gone for too short a time to be missed, or was emptied: it may have nothing any more, or what it had saved of
   * old. Others are told. Does nothing while it is down: then it is suspect when it is back.
   */
  mayHaveLostRecords(): void {
    if (this.#down !== undefined || this.#isOff) return;
    this.#suspect();
    if (this.#leftMs === undefined) this.#parts.events.emit("nodeReconnected", { node: this.id });
  }

  /** What it has may be older than its copies, and is compared with them from now on. */
  suspect(): void {
    if (!this.#isOff) this.#suspect();
  }

  #suspect(): void {
    this.#suspectSinceMs = this.#now();
    this.#suspectUntilMs = this.#suspectSinceMs + this.#parts.recordLife.longestMs;
    this.#confirmed = new Set();
  }

  /** @returns what tells others of it */
  #comeUp(): () => void {
    if (this.#down === undefined || this.#closed) return () => {};
    const now = this.#now();
    const downMs = now - this.#down.sinceMs;
    this.#down = undefined;
    this.#hasAnswered = true;
    this.#failures = 0;
    this.#upSinceMs = now;
    delete this.#runs.operation; // it is suspect in any case
    this.#suspect();
    return () => {
      if (this.#leftMs === undefined) this.#parts.events.emit("nodeUp", { node: this.id, downMs });
    };
  }

  #now(): number {
    return this.#parts.clock.monotonicMs();
  }
}

/** Storages that are given to us may throw. */
function begun<T>(operation: (storage: Storage) => Promise<T>, storage: Storage): Promise<T> {
  try {
    return operation(storage);
  } catch (thrown) {
    return Promise.reject(thrown);
  }
}

const retiredError = (id: string) =>
  new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", `node ${id} is no member of the ring any more`);
