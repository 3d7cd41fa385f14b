import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as wait } from "node:timers/promises";
import type { Reaper } from "./reaper.js";

/**
 * - `starting`: it runs, and has not answered yet
 * - `up`: it answers
 * - `down`: it was killed, died by itself, or runs and does not answer
 * - `stopped`: it was asked to end, and did
 * - `frozen`: it was halted (SIGSTOP): it takes connections and never answers
 */
export type MemberState = "starting" | "up" | "down" | "stopped" | "frozen";

/** What a person can do to a process of the cluster. */
export type Action = "stop" | "kill" | "freeze" | "restart";

/** All actions. */
export const actions: readonly Action[] = ["stop", "kill", "freeze", "restart"];

/** How a process is started and watched. */
export interface MemberOptions {
  readonly name: string;
  readonly kind: "app" | "node";
  readonly port: number;
  readonly command: readonly [program: string, ...args: string[]];
  readonly env?: Readonly<Record<string, string>>;
  /** Asks it how it is. Rejects where it does not answer. */
  readonly ask: () => Promise<unknown>;
  /** Messages that it sends to its parent. */
  readonly onMessage?: (message: unknown) => void;
  /** A line it wrote to its stderr. */
  readonly onLine?: (line: string) => void;
  /** It ended, though nobody here had asked for it. */
  readonly onDeath?: (how: string) => void;
}

const startTimeoutMs = 20_000;
const askEveryMs = 400;
const askAtStartEveryMs = 50;
// An application saves what is still to be saved, at most 5 s, before it ends.
const stopTimeoutMs = 7_000;
const keptLines = 20;

/** An application process or a storage node: one child process that can be ended and started again on the same port. */
export class Member {
  readonly options: MemberOptions;
  readonly #reaper: Reaper;
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #ending: "stop" | "kill" | undefined;
  #isFrozen = false;
  #wasUp = false;
  #answer: unknown;
  #lastLines: string[] = [];

  constructor(options: MemberOptions, reaper: Reaper) {
    this.options = options;
    this.#reaper = reaper;
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get state(): MemberState {
    if (!this.#child) return this.#ending === "stop" ? "stopped" : "down";
    if (this.#isFrozen) return "frozen";
    if (this.#answer !== undefined) return "up";
    return this.#wasUp ? "down" : "starting";
  }

  /** What it said of itself last; undefined while it does not answer. */
  get answer(): unknown {
    return this.#answer;
  }

  /**
   * Starts the process, and resolves when it answers.
   * @throws Error with the last lines of its stderr where it ends before, or does not answer in 20 s
   */
  async start(): Promise<void> {
    const { name } = this.options;
    const child = this.#spawn();
    void this.#watch(child);
    for (const end = Date.now() + startTimeoutMs; Date.now() < end; await wait(25)) {
      if (this.state === "up") return;
      if (this.#child !== child)
        throw new Error(`${name} ended before it was up\n${this.#lastLines.join("\n")}`);
    }
    throw new Error(
      `${name} did not answer within ${startTimeoutMs / 1000} s\n${this.#lastLines.join("\n")}`,
    );
  }

  /** Asks the process to end (SIGTERM), and waits for it; one that does not end in 7 s is killed. */
  async stop(): Promise<void> {
    this.#ending = "stop";
    this.#signal("SIGTERM");
    // A frozen process gets the message only when it goes on.
    this.#signal("SIGCONT");
    this.#isFrozen = false;
    const timeout = new AbortController();
    const killing = wait(stopTimeoutMs, undefined, { signal: timeout.signal }).then(
      () => this.#signal("SIGKILL"),
      () => {},
    );
    await this.#exited;
    timeout.abort();
    await killing;
  }

  /** Ends the process at once (SIGKILL): it can save nothing and say nothing. */
  async kill(): Promise<void> {
    this.#ending = "kill";
    this.#signal("SIGKILL");
    await this.#exited;
  }

  /** Halts the process (SIGSTOP), until it is restarted. */
  freeze(): void {
    if (!this.#child) return;
    this.#isFrozen = true;
    this.#signal("SIGSTOP");
  }

  /** Starts the process anew, on the same port; one that still runs is ended first. */
  async restart(): Promise<void> {
    await (this.#isFrozen ? this.kill() : this.stop());
    await this.start();
  }

  #spawn(): ChildProcess {
    const { command, env, onMessage, onLine, onDeath } = this.options;
    const [program, ...args] = command;
    // A process group of its own: Ctrl-C in the terminal is for the supervisor, which ends the others in good order.
    const child = spawn(program, args, {
      detached: true,
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "pipe", ...(onMessage ? (["ipc"] as const) : [])],
    });
    this.#child = child;
    this.#ending = undefined;
    this.#isFrozen = false;
    this.#wasUp = false;
    this.#answer = undefined;
    this.#lastLines = [];
    if (child.pid !== undefined) this.#reaper.guard(child.pid);
    if (onMessage) child.on("message", onMessage);
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      for (const line of text.split("\n").filter((each) => each.trim() !== "")) {
        this.#lastLines = [...this.#lastLines, line].slice(-keptLines);
        onLine?.(line);
      }
    });
    this.#exited = new Promise((resolve) => {
      const ended = (how: string) => {
        if (child.pid !== undefined) this.#reaper.release(child.pid);
        this.#child = undefined;
        this.#answer = undefined;
        if (this.#ending === undefined) onDeath?.(how);
        resolve();
      };
      child.once("exit", (code, signal) => ended(signal ?? `exit code ${code}`));
      child.once("error", (error) => {
        this.#lastLines.push(error.message);
        ended(error.message);
      });
    });
    return child;
  }

  async #watch(child: ChildProcess): Promise<void> {
    while (this.#child === child) {
      const answer = await this.options.ask().catch(() => undefined);
      if (this.#child !== child) return;
      this.#answer = answer;
      this.#wasUp ||= answer !== undefined;
      await wait(this.#wasUp ? askEveryMs : askAtStartEveryMs, undefined, { ref: false });
    }
  }

  #signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }
}
