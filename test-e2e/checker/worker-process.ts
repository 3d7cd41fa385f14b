import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { Agent } from "node:http";
import { fileURLToPath } from "node:url";
import type { Mode, Policy } from "./policies.js";

/** How requests under the policy "all" are locked; none of it for the proof that the checker misses the lock. */
export interface LockOptions {
  readonly locking: "all";
  readonly leaseTtlMs: number;
  readonly lockTimeoutMs: number;
}

/** What a worker is told at its start. */
export interface WorkerConfiguration {
  /** In sticky mode also the route. */
  readonly name: string;
  readonly mode: Mode;
  /** The option `nodes`. */
  readonly nodes: string;
  /** Each has its routes, its sessions and its manager. */
  readonly policies: readonly Policy[];
  readonly lock: LockOptions | undefined;
}

/** What a worker tells its driver. */
export type WorkerMessage =
  | { readonly kind: "listening"; readonly port: number }
  /** The handler of a request that asked for it has read its session, with this counter, and takes its time now. */
  | { readonly kind: "thinking"; readonly id: string; readonly count: number }
  | { readonly kind: "conflict"; readonly policy: Policy; readonly attribute: string };

const program = fileURLToPath(new URL("worker.mjs", import.meta.url));

/** One application process, and whether the balancer sends requests to it. */
export class WorkerProcess {
  readonly name: string;
  readonly #configuration: WorkerConfiguration;
  readonly #onMessage: (message: WorkerMessage) => void;
  #child: ChildProcess | undefined;
  #output = "";
  #line: Line | undefined;
  #rotation: Rotation | undefined;

  constructor(configuration: WorkerConfiguration, onMessage: (message: WorkerMessage) => void) {
    this.name = configuration.name;
    this.#configuration = configuration;
    this.#onMessage = onMessage;
  }

  /** Starts it, anew where it was killed. Resolves when it takes requests. @throws Error with what it printed */
  async start(): Promise<void> {
    const child = fork(program, [JSON.stringify(this.#configuration)], { silent: true, execArgv: [] });
    this.#child = child;
    endWithThisProcess(child);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (bytes: Buffer) => (this.#output += bytes));
    }
    const port = await new Promise<number>((resolve, reject) => {
      child.once("exit", () => reject(new Error(`${this.name} did not start: ${this.#output}`)));
      child.on("message", (message: WorkerMessage) => {
        if (message.kind === "listening") resolve(message.port);
        else this.#onMessage(message);
      });
    });
    this.#line = { port, agent: new Agent({ keepAlive: true }) };
    this.#rotation = newRotation();
  }

  /** Where it listens. @throws Error before it was started */
  get line(): Line {
    if (this.#line === undefined) throw new Error(`${this.name} was never started`);
    return this.#line;
  }

  get isInRotation(): boolean {
    return this.#rotation !== undefined;
  }

  /** Resolves when the balancer sends nothing here any more; at once where it does not now. */
  async outOfRotation(): Promise<void> {
    await this.#rotation?.left;
  }

  /** Stops it in its tracks (SIGSTOP) and takes it out of rotation. What it has begun stays open. */
  pause(): void {
    this.#child?.kill("SIGSTOP");
    this.#leaveRotation();
  }

  /** Lets it go on (SIGCONT), and takes it into rotation again. */
  resume(): void {
    this.#child?.kill("SIGCONT");
    this.#rotation ??= newRotation();
  }

  /** Ends it without a chance to say goodbye (SIGKILL). Resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    this.#leaveRotation();
    if (child !== undefined && !hasEnded(child)) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    this.#line?.agent.destroy();
  }

  /** What it printed, where it ended by itself; undefined where it did not. */
  get failure(): string | undefined {
    const hasFailed = this.#child !== undefined && hasEnded(this.#child);
    return hasFailed ? `${this.name} ended by itself: ${this.#output}` : undefined;
  }

  #leaveRotation(): void {
    this.#rotation?.leave();
    this.#rotation = undefined;
  }
}

/** Where a worker listens, and the connections to it. */
export interface Line {
  readonly port: number;
  readonly agent: Agent;
}

interface Rotation {
  readonly left: Promise<void>;
  leave(): void;
}

function newRotation(): Rotation {
  let leave = () => {};
  const left = new Promise<void>((resolve) => {
    leave = resolve;
  });
  return { left, leave: () => leave() };
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

const running = new Set<ChildProcess>();

/** A worker ends when its channel is closed, but not while it is stopped. */
function endWithThisProcess(child: ChildProcess): void {
  if (running.size === 0) process.once("exit", endAll);
  running.add(child);
  child.once("exit", () => {
    running.delete(child);
    if (running.size === 0) process.removeListener("exit", endAll);
  });
}

function endAll(): void {
  for (const child of running) child.kill("SIGKILL");
}
