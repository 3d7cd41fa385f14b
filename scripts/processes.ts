import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { connect } from "node:net";
import { findProgram } from "../samples/src/cluster/find-program.js";

/** A program's path, on PATH or where Debian keeps servers; undefined where it is not installed. */
export function findServer(name: string): string | undefined {
  return findProgram(name) ?? findProgram(name, "/usr/sbin:/usr/local/sbin");
}

/** A child process, and what it wrote so far. */
export interface Running {
  readonly child: ChildProcess;
  output(): string;
  /** Ends it, and resolves when it is gone. */
  end(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts a program. Its output is kept for messages about what went wrong. */
export function start(program: string, args: readonly string[], options: SpawnOptions = {}): Running {
  const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const keep = (bytes: Buffer) => {
    output += String(bytes);
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  const gone = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", (error) => {
      output += error.message;
      resolve();
    });
  });

  return {
    child,
    output: () => output,
    end(signal = "SIGTERM") {
      child.kill(signal);
      return gone;
    },
  };
}

/**
 * Asks every 50 ms until the answer is yes. A condition that throws counts as no.
 * @throws Error after 15 s, or when the process has ended, with what it wrote
 */
export async function waitUntil(
  what: string,
  running: Running,
  condition: () => Promise<boolean>,
): Promise<void> {
  const deadlineMs = Date.now() + 15_000;
  while (!(await condition().catch(() => false))) {
    if (running.child.exitCode !== null)
      throw new Error(`the process ended before ${what}:\n${running.output()}`);
    if (Date.now() > deadlineMs) throw new Error(`waited 15 s in vain until ${what}:\n${running.output()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Resolves to whether a server accepts connections on a port of 127.0.0.1. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
