import type { Mode, Policy } from "../history/policies.js";
import { type LockOptions, type WorkerMessage, type WorkerProcess, workerProcess } from "./worker-process.js";

/** A waiter outlasts the lease of a holder that is killed. The lease is the shortest that memcached can do. */
export const lockOptions: LockOptions = { locking: "all", leaseTtlMs: 3000, lockTimeoutMs: 6000 };

const workerCount = 8;

/** What all workers have in common. */
export interface FleetOptions {
  readonly mode: Mode;
  /** The option `nodes`. */
  readonly nodes: string;
  readonly policies: readonly Policy[];
  /** False: the policy "all" goes without its lock. Default true. */
  readonly isLocked?: boolean;
}

/** A conflict event of a worker. */
export type Conflict = Extract<WorkerMessage, { kind: "conflict" }>;

/** The workers, and what they told. */
export class Fleet {
  readonly workers: readonly WorkerProcess[];
  /** The counter that a handler found, by the operation's id. */
  readonly thinking = new Map<string, number>();
  readonly conflicts: Conflict[] = [];

  constructor({ mode, nodes, policies, isLocked = true }: FleetOptions) {
    this.workers = Array.from({ length: workerCount }, (_, at) => {
      const lock = isLocked ? lockOptions : undefined;
      const configuration = {
        name: `app${at + 1}`,
        mode,
        nodes,
        policies: [...new Set(policies)],
        lock,
      };
      return workerProcess(configuration, (message) => this.#note(message));
    });
  }

  async start(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.start()));
  }

  async end(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.kill()));
  }

  /** What workers printed that ended by themselves. */
  get failures(): string[] {
    return this.workers.flatMap(({ failure }) => failure ?? []);
  }

  #note(message: WorkerMessage): void {
    if (message.kind === "thinking") this.thinking.set(message.id, message.count);
    if (message.kind === "conflict") this.conflicts.push(message);
  }
}
