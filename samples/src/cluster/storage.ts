import { files } from "../files.js";
import { findProgram } from "./find-program.js";

/** Which server the storage nodes are. "embedded": our own development memcached. */
export type StorageKind = "memcached" | "redis" | "embedded";

/** The kinds that can be asked for. */
export const storageKinds: readonly StorageKind[] = ["memcached", "redis", "embedded"];

/** The server that was chosen. */
export interface Storage {
  readonly kind: StorageKind;
  /** Why this one, in words. */
  readonly why: string;
  /** What starts a node on a port of 127.0.0.1. */
  command(port: number): readonly [program: string, ...args: string[]];
  /** How the session manager is told of a node, e.g. "redis://127.0.0.1:7001". */
  address(port: number): string;
}

const programs = { memcached: "memcached", redis: "redis-server" } as const;

/**
 * The storage that was asked for; else memcached, then Redis, where its program is found; else the embedded server.
 * @throws Error where it was asked for and its program is not found
 */
export function chooseStorage(wanted: StorageKind | undefined, find = findProgram): Storage {
  if (wanted === "embedded") return embedded("as asked for");
  if (wanted !== undefined) {
    const program = find(programs[wanted]);
    if (program !== undefined) return installed(wanted, program, "as asked for");
    throw new Error(
      `--storage ${wanted}: there is no ${programs[wanted]} on PATH. Install it, or use --storage embedded`,
    );
  }
  for (const kind of ["memcached", "redis"] as const) {
    const program = find(programs[kind]);
    if (program !== undefined) return installed(kind, program, `found ${program}`);
  }
  return embedded("neither memcached nor redis-server was found on PATH");
}

function installed(kind: "memcached" | "redis", program: string, why: string): Storage {
  return kind === "memcached" ? memcached(program, why) : redis(program, why);
}

function memcached(program: string, why: string): Storage {
  // memcached refuses to run as root unless it is told so.
  const asRoot = process.getuid?.() === 0 ? ["-u", "root"] : [];
  return {
    kind: "memcached",
    why,
    command: (port) => [program, "-l", host, "-p", String(port), "-U", "0", "-t", "1", ...asRoot],
    address: (port) => `${host}:${port}`,
  };
}

function redis(program: string, why: string): Storage {
  // Keeps nothing on disk: a node that was restarted is an empty one.
  const inMemory = ["--save", "", "--appendonly", "no"];
  return {
    kind: "redis",
    why,
    command: (port) => [program, "--bind", host, "--port", String(port), ...inMemory],
    address: (port) => `redis://${host}:${port}`,
  };
}

function embedded(why: string): Storage {
  return {
    kind: "embedded",
    why,
    command: (port) => [process.execPath, files.devMemcached, "--port", String(port)],
    address: (port) => `${host}:${port}`,
  };
}

const host = "127.0.0.1";
