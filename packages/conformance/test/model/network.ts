import {
  type Lease,
  type LoadOptions,
  MsmError,
  memoryStorage,
  type SaveOptions,
  type Storage,
} from "@msm/core";
import type { Scheduler } from "fast-check";
import type { ProcessLine } from "./process-line.js";
import type { SteppedClock } from "./stepped-clock.js";

/** What becomes of one call. Where the caller is told of a failure, the node may have carried it out all the same. */
export const fates = [
  /** The request never arrives; the caller hears nothing. */
  "lost",
  /** Carried out; the caller hears nothing. */
  "reply lost",
  /** The caller hears nothing; carried out much later. */
  "late",
  /** Carried out and answered; and carried out again, much later. */
  "twice",
  /** The connection breaks before the node has read the request. */
  "cut before",
  /** The connection breaks after the node has carried the request out. */
  "cut after",
  /** The connection breaks; the node carries the request out much later. */
  "cut late",
] as const;

export type Fate = (typeof fates)[number];

/** "down": refuses every connection; "silent": answers nothing, and does nothing. */
export type NodeState = "up" | "down" | "silent";

interface Node {
  readonly storage: Storage;
  readonly fates: Fate[];
  state: NodeState;
}

/** How long a caller waits for an answer. */
const deadlineMs = 250;

/**
 * Memory nodes behind a network in which each request's arrival and each reply is a step of its own: the scheduler
 * chooses which comes next. What comes much later waits until it is let go.
 */
export class Network {
  readonly nodes: readonly string[];
  readonly #clock: SteppedClock;
  readonly #scheduler: Scheduler;
  readonly #nodes = new Map<string, Node>();
  readonly #belated: (() => Promise<unknown>)[] = [];
  /** Keys whose lease somebody asked for. */
  readonly #leaseKeys = new Set<string>();
  readonly #tellsOfRelease: boolean;
  /** Calls that will be answered, with the time until which they must be. */
  readonly #awaited = new Set<{ readonly untilMs: number }>();

  constructor(
    nodes: readonly string[],
    clock: SteppedClock,
    scheduler: Scheduler,
    { tellsOfRelease = false } = {},
  ) {
    this.nodes = nodes;
    this.#tellsOfRelease = tellsOfRelease;
    this.#clock = clock;
    this.#scheduler = scheduler;
    for (const id of nodes)
      this.#nodes.set(id, { storage: memoryStorage({ clock }), fates: [], state: "up" });
  }

  /** Lets the next calls of a node end so, one after the other. */
  decree(node: string, next: readonly Fate[]): void {
    this.#node(node).fates.push(...next);
  }

  setState(node: string, state: NodeState): void {
    this.#node(node).state = state;
  }

  /** Ends all faults. What is still on its way stays so. */
  heal(): void {
    for (const node of this.#nodes.values()) {
      node.state = "up";
      node.fates.length = 0;
    }
  }

  /** Lets up to `count` requests go on that were thought lost, in the order in which they were sent. */
  letBelatedGo(count: number): void {
    for (const run of this.#belated.splice(0, count)) void this.#step("belated", run);
  }

  /** When the first call that will be answered has to be; infinity where none is under way. */
  nextDeadlineMs(): number {
    let nextMs = Number.POSITIVE_INFINITY;
    for (const { untilMs } of this.#awaited) nextMs = Math.min(nextMs, untilMs);
    return nextMs;
  }

  /** A process' client of one node. */
  connect(id: string, line: ProcessLine): Storage {
    const call = <T>(verb: string, key: string, run: (storage: Storage) => Promise<T>) => {
      const carryOut = key.includes("notices") ? this.#aside.bind(this) : this.#call.bind(this);
      return whileRunning(line, verb, carryOut(`${verb} on ${id}`, this.#node(id), line, run));
    };
    const onRelease = (key: string, listener: () => void) =>
      this.#node(id).storage.onRelease!(key, () => void this.#tellOfRelease(id, line, listener));
    return {
      kind: "memory",
      ...(this.#tellsOfRelease && { onRelease }),
      load: async (key: string, options?: LoadOptions) => {
        const result = await call("load", key, (storage) => storage.load(key, options));
        if (options?.lease !== undefined) this.#leaseKeys.add(key);
        if (options?.lease !== undefined && result.kind === "found") line.leasesTaken++;
        return result;
      },
      save: (key: string, record: Uint8Array, ttlMs: number, options: SaveOptions) =>
        call("save", key, (storage) => storage.save(key, record, ttlMs, options)),
      putIfNewer: (key: string, record: Uint8Array, ttlMs: number) =>
        call("putIfNewer", key, (storage) => storage.putIfNewer(key, record, ttlMs)),
      touch: (key: string, ttlMs: number) => call("touch", key, (storage) => storage.touch(key, ttlMs)),
      renewLease: (key: string, lease: Lease) =>
        call("renewLease", key, (storage) => storage.renewLease(key, lease)),
      unlock: (key: string, token: string) => call("unlock", key, (storage) => storage.unlock(key, token)),
      ping: () =>
        whileRunning(
          line,
          "ping",
          this.#aside("ping", this.#node(id), line, async (node) => node),
        ),
      close: async () => {},
    };
  }

  /** What a node itself has, past the network. */
  storageOf(node: string): Storage {
    return this.#node(node).storage;
  }

  /** Where a lease is held, past the network. */
  async heldLeases(): Promise<string[]> {
    const held: string[] = [];
    for (const [id, { storage }] of this.#nodes) {
      for (const key of this.#leaseKeys) {
        const { kind } = await storage.load(key, { lease: { token: "probe", ttlMs: 1 } });
        if (kind === "locked") held.push(`${key} on ${id}`);
        await storage.unlock(key, "probe");
      }
    }
    return held;
  }

  /** The news takes its time, and does not come where nothing does. */
  async #tellOfRelease(id: string, line: ProcessLine, listener: () => void): Promise<void> {
    if (this.#node(id).state !== "up") return;
    await this.#step(`news of ${id}`, () => {});
    await line.running();
    if (!line.cut) listener();
  }

  #node(id: string): Node {
    return this.#nodes.get(id)!;
  }

  /** Pings and notices are no steps, and take no fate from others: they would be most of them. */
  async #aside<T>(
    what: string,
    node: Node,
    line: ProcessLine,
    run: (storage: Storage) => Promise<T>,
  ): Promise<T> {
    if (line.cut || node.state === "down") throw refused(what);
    if (node.state === "silent") return this.#nothing(what);
    return run(node.storage);
  }

  #call<T>(what: string, node: Node, line: ProcessLine, run: (storage: Storage) => Promise<T>): Promise<T> {
    if (line.cut || node.state === "down") return Promise.reject(refused(what));
    if (node.state === "silent") return this.#nothing(what);
    const carryOut = () => run(node.storage);
    const fate = node.fates.shift();
    switch (fate) {
      case undefined:
        return this.#answered(what, carryOut);
      case "twice":
        return this.#answered(what, carryOut, () => {
          this.#belated.push(carryOut);
        });
      case "lost":
        return this.#nothing(what);
      case "reply lost":
        void this.#step(what, carryOut);
        return this.#nothing(what);
      case "late":
        this.#belated.push(carryOut);
        return this.#nothing(what);
      case "cut before":
        return this.#cut(what, async () => {});
      case "cut after":
        return this.#cut(what, carryOut);
      case "cut late":
        this.#belated.push(carryOut);
        return this.#cut(what, async () => {});
    }
  }

  async #answered<T>(what: string, carryOut: () => Promise<T>, then?: () => void): Promise<T> {
    const awaited = { untilMs: this.#clock.monotonicMs() + deadlineMs };
    this.#awaited.add(awaited);
    try {
      const result = await this.#step(`${what} arrives`, carryOut);
      then?.();
      await this.#step(`${what} is answered`, () => {});
      return result;
    } finally {
      this.#awaited.delete(awaited);
    }
  }

  async #cut(what: string, carryOut: () => Promise<unknown>): Promise<never> {
    await this.#step(`${what} arrives`, carryOut);
    await this.#step(`${what} is cut off`, () => {});
    throw new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", `${what}: the connection broke`);
  }

  #nothing(what: string): Promise<never> {
    return new Promise((_resolve, reject) => {
      this.#clock.after(deadlineMs, () =>
        reject(new MsmError("MSM_ERR_STORAGE_TIMEOUT", `${what}: no answer in ${deadlineMs} ms`)),
      );
    });
  }

  async #step<T>(label: string, run: () => T | Promise<T>): Promise<T> {
    await this.#scheduler.schedule(Promise.resolve(), label);
    return run();
  }
}

/** A process that is paused hears of nothing. */
async function whileRunning<T>(line: ProcessLine, what: string, answer: Promise<T>): Promise<T> {
  const [told] = await Promise.allSettled([answer]);
  await line.running();
  if (line.cut) throw refused(what);
  if (told.status === "rejected") throw told.reason;
  return told.value;
}

const refused = (what: string) =>
  new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", `${what}: the connection was refused`);
