import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { delimiter, join } from "node:path";
import { pause, waitUntil } from "./wait-until.js";

/** A server process of a test's own, on a free port of this machine. */
export interface TestServer {
  readonly host: "127.0.0.1";
  readonly port: number;
  /** Of the process that runs now. */
  readonly pid: number;
  /** Stops it in its tracks (SIGSTOP): connections stay open, nothing is answered. Resolves when it has stopped. */
  freeze(): Promise<void>;
  /** Lets it go on (SIGCONT). */
  thaw(): void;
  /** Ends it without a chance to say goodbye (SIGKILL). Resolves when it is gone. */
  kill(): Promise<void>;
  /** Starts it anew, empty, on the same port; kills it first where it still runs. Resolves when it takes connections. */
  restart(): Promise<void>;
  /** Ends it for good. Safe to call twice. */
  close(): Promise<void>;
}

/** How a server is started: a program with its arguments, for the port that it shall listen on. */
export type ServerCommand = (port: number) => readonly [program: string, ...args: string[]];

/** memcached, if the machine has it. One thread and 64 MiB; `extraArguments` come last. */
export const memcachedCommand =
  (...extraArguments: string[]): ServerCommand =>
  (port) => [
    findProgram("memcached") ?? "memcached",
    ...["-l", "127.0.0.1", "-p", String(port), "-U", "0", "-t", "1"],
    ...runAsRoot(),
    ...extraArguments,
  ];

/** Redis without files. `extraArguments` come last, e.g. `"--maxmemory-policy", "allkeys-lru"`. */
export const redisCommand =
  (...extraArguments: string[]): ServerCommand =>
  (port) => [
    findProgram("redis-server") ?? "redis-server",
    ...["--bind", "127.0.0.1", "--port", String(port), "--save", "", "--appendonly", "no"],
    // A replica, too, would write what it receives into a file.
    ...["--repl-diskless-sync", "yes", "--repl-diskless-load", "swapdb"],
    ...["--daemonize", "no", "--loglevel", "warning"],
    ...extraArguments,
  ];

/**
 * Starts a server on a free port. Resolves when it takes connections.
 * @throws Error with what it printed where it ends before that
 */
export async function startServer(command: ServerCommand): Promise<TestServer> {
  const server = new ServerProcess(command, await freePort());
  await server.restart();
  return server;
}

/** A port of 127.0.0.1 that nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return address.port;
}

/** The full path of a program on PATH; undefined where it is not installed. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/**
 * What a suite that needs a program does without it: where CI is set it runs, and fails; elsewhere it is skipped, with
 * the reason in its name.
 */
export function needsProgram(program: string): { readonly skip: boolean; readonly reason: string } {
  const isMissing = findProgram(program) === undefined;
  return {
    skip: isMissing && !process.env.CI,
    reason: isMissing ? ` (skipped: there is no ${program} on this machine)` : "",
  };
}

class ServerProcess implements TestServer {
  readonly host = "127.0.0.1";
  readonly port: number;
  readonly #command: ServerCommand;
  #child: ChildProcess | undefined;

  constructor(command: ServerCommand, port: number) {
    this.#command = command;
    this.port = port;
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error("the server does not run");
    return this.#child.pid;
  }

  async freeze(): Promise<void> {
    process.kill(this.pid, "SIGSTOP");
    // The signal takes effect a moment later. What is on its way until then is still answered.
    await waitUntil("the server has stopped", () => isStopped(this.pid));
  }

  thaw(): void {
    process.kill(this.pid, "SIGCONT");
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || hasEnded(child)) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  async restart(): Promise<void> {
    await this.kill();
    const [program, ...args] = this.#command(this.port);
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    endWithThisProcess(child);
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => (output += bytes));
    child.on("error", (error) => (output += error.message));
    await waitUntil(`${program} takes connections on port ${this.port}`, async () => {
      if (child.pid === undefined || hasEnded(child)) throw new Error(`${program} did not start: ${output}`);
      return takesConnections(this.port);
    });
  }

  close(): Promise<void> {
    return this.kill();
  }
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

const running = new Set<ChildProcess>();

/** A test run that breaks off must not leave servers behind. */
function endWithThisProcess(child: ChildProcess): void {
  if (running.size === 0) {
    process.once("exit", endAll);
    process.once("SIGTERM", endAllAndExit);
  }
  running.add(child);
  child.once("exit", () => {
    running.delete(child);
    if (running.size > 0) return;
    process.removeListener("exit", endAll);
    process.removeListener("SIGTERM", endAllAndExit);
  });
}

function endAll(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** A test runner ends a worker that hangs so, and without a listener there would be no "exit". */
function endAllAndExit(): void {
  endAll();
  process.exit(143);
}

/** The state letter in /proc (proc(5)); where there is no /proc, a moment has to do. */
async function isStopped(pid: number): Promise<boolean> {
  const path = `/proc/${pid}/stat`;
  if (!existsSync(path)) {
    await pause(50);
    return true;
  }
  const stat = readFileSync(path, "latin1");
  return stat.slice(stat.lastIndexOf(")")).startsWith(") T");
}

/** memcached refuses to run as root unless it is told the user to become. */
const runAsRoot = () => (process.getuid?.() === 0 ? ["-u", "root"] : []);

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function takesConnections(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
