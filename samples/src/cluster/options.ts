import { parseArgs } from "node:util";
import { readLocking } from "../locking.js";
import { type StorageKind, storageKinds } from "./storage.js";

/** How a demo cluster is started. */
export interface ClusterOptions {
  readonly mode: "sticky" | "non-sticky";
  /** The balancer's port on 127.0.0.1; 0: any free one. Default 8080. */
  readonly port?: number;
  /** Default: memcached, else redis, where its program is found, else embedded. */
  readonly storage?: StorageKind;
  /** Application processes, app1, app2, … Default 3. */
  readonly apps?: number;
  /** Storage nodes, n1, n2, … Default 2. */
  readonly nodes?: number;
  /** What of the command line stands for the session manager's option: "all", "path:^/counter", … Default "optimistic". */
  readonly locking?: string;
  /** As the session manager's option, in sticky mode. Default "sync". */
  readonly backup?: "sync" | "async";
  /** One storage node, which the session manager is given without an id. */
  readonly singleNode?: boolean;
  /** Nodes that take sessions only while no other is left, e.g. "n1" or "n1,n2". */
  readonly failoverNodes?: string;
  /** Called with each line that a process writes to its stderr. */
  readonly onLine?: (line: string) => void;
}

/** What `--help` prints. */
export const usage = `Usage: pnpm samples:sticky [flags], pnpm samples:non-sticky [flags]

  --port N             the balancer's port on 127.0.0.1; 0: any free one (8080)
  --storage KIND       memcached, redis or embedded (the first that is found)
  --apps N             application processes (3)
  --nodes N            storage nodes (2)
  --locking MODE       how requests of one session are kept apart (optimistic):
                       optimistic    no lock; two changes merge, the later of two of the same attribute stands
                       none          no lock; the session that is saved last stands
                       all           each request has its session to itself
                       auto          each but those that were seen to only read
                       app           those that call session.lock(): /counter does
                       path:PATTERN  those whose path matches, such as path:^/counter
                       method:NAMES  those of these methods, such as method:POST,PUT
  --backup sync|async  sticky only: whether a response waits for its backup (sync)
  --single-node        one storage node, without an id
  --failover-nodes IDS nodes that take sessions only while no other is left, e.g. n1
  --help
`;

const flags = {
  port: { type: "string" },
  storage: { type: "string" },
  apps: { type: "string" },
  nodes: { type: "string" },
  locking: { type: "string" },
  backup: { type: "string" },
  "single-node": { type: "boolean" },
  "failover-nodes": { type: "string" },
  help: { type: "boolean" },
} as const;

/**
 * Reads the command line: the mode, then flags.
 * @returns "help" where that was asked for
 * @throws Error that names the flag, what it got and what would do
 */
export function readCommandLine(args: readonly string[]): ClusterOptions | "help" {
  // pnpm hands the "--" on that parts its own flags from the script's.
  const { values, positionals } = parseArgs({
    args: args.filter((arg) => arg !== "--"),
    options: flags,
    allowPositionals: true,
  });
  if (values.help) return "help";
  return withoutUndefined({
    mode: oneOf("the mode", positionals.join(" "), ["sticky", "non-sticky"]),
    port: wholeNumber("--port", values.port, 0, 65_535),
    storage: values.storage === undefined ? undefined : oneOf("--storage", values.storage, storageKinds),
    apps: wholeNumber("--apps", values.apps, 1, 16),
    nodes: wholeNumber("--nodes", values.nodes, 1, 16),
    locking: checkedLocking(values.locking),
    backup: values.backup === undefined ? undefined : oneOf("--backup", values.backup, ["sync", "async"]),
    singleNode: values["single-node"],
    failoverNodes: values["failover-nodes"],
  });
}

/** As it was given: the application processes read it anew. */
function checkedLocking(given: string | undefined): string | undefined {
  if (given !== undefined) readLocking(given);
  return given;
}

function oneOf<T extends string>(name: string, given: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === given);
  if (found === undefined) throw new Error(`${name} must be ${allowed.join(" or ")}, got "${given}"`);
  return found;
}

function wholeNumber(
  name: string,
  given: string | undefined,
  least: number,
  most: number,
): number | undefined {
  if (given === undefined) return undefined;
  const number = /^\d{1,5}$/.test(given) ? Number(given) : Number.NaN;
  if (!(number >= least && number <= most)) {
    throw new Error(`${name} must be a whole number from ${least} to ${most}, got "${given}"`);
  }
  return number;
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

function withoutUndefined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}
