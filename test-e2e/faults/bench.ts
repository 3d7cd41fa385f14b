import {
  type FaultProxy,
  memcachedCommand,
  redisCommand,
  startFaultProxy,
  startServer,
  type TestServer,
  waitUntil,
} from "@msm/conformance";
import { AppProcess } from "../processes/app-process.js";
import { askWorker } from "../processes/http-answer.js";
import type { AppConfiguration, AppMessage, AppReport, PlainOptions } from "./app-configuration.js";
import { Balancer } from "./balancer.js";
import { type Cell, isSticky } from "./cell.js";
import { Logs } from "./logs.js";
import { type NodeContents, scanNode } from "./node-scan.js";
import { pathOf } from "./paths.js";

/** An application process of the bench. */
export type App = AppProcess<AppMessage>;

/** A storage node of the bench. */
export interface BenchNode {
  /** "n1", "n2", … */
  readonly id: string;
  readonly server: TestServer;
}

/** How a bench differs from the usual one. */
export interface BenchOptions {
  /** Default 3. */
  readonly nodeCount?: number;
  /** Default 2. */
  readonly appCount?: number;
  /** What comes last on a node's command line. Default nothing. */
  readonly nodeArguments?: (node: string) => readonly string[];
  /** Options of the session managers beside msm's defaults; for one process, or for all. */
  readonly options?: PlainOptions | ((app: string) => PlainOptions);
  /** In which order a process knows which nodes. Default: all, in their order. */
  readonly nodeOrder?: (app: string, ids: readonly string[]) => readonly string[];
  /** How much a process' wall clock goes before the machine's, in milliseconds. Default 0. */
  readonly clockAheadMs?: (app: string) => number;
  /** Default: "all" in non-sticky mode, msm's default in sticky mode. */
  readonly locking?: "all" | "optimistic";
}

/**
 * Longer than msm's default of 250 ms: where a machine does much else at the same time, nodes must not count as down only
 * because nobody got round to asking them. The faults are made to fit.
 */
export const operationTimeoutMs = Number(process.env.MSM_FAULTS_OPERATION_TIMEOUT_MS ?? 1000);

const program = pathOf("faults/app.mjs");

/**
 * Storage nodes, application processes, and between each two of them a proxy that harms what goes through it: so two
 * processes can have different views of one node. All of it is real, on this machine, and ends with `end()`.
 */
export class Bench {
  readonly cell: Cell;
  readonly nodes: readonly BenchNode[];
  readonly apps: readonly App[];
  readonly balancer: Balancer;
  readonly logs = new Logs();
  /** The counter that a handler found, by the operation's id, for those that told that they run. */
  readonly thinking = new Map<string, number>();
  readonly #proxies: ReadonlyMap<string, FaultProxy>;

  private constructor(
    cell: Cell,
    options: BenchOptions,
    nodes: readonly BenchNode[],
    proxies: ReadonlyMap<string, FaultProxy>,
  ) {
    this.cell = cell;
    this.nodes = nodes;
    this.#proxies = proxies;
    this.apps = appNames(options).map((name) => this.#app(name, options));
    this.balancer = new Balancer(this.apps, isSticky(cell));
  }

  /** Starts all of it. Resolves when every process takes requests and every node answers it. */
  static async start(cell: Cell, options: BenchOptions = {}): Promise<Bench> {
    const nodes = await startNodes(cell, options);
    const proxies = await startProxies(appNames(options), nodes);
    const bench = new Bench(cell, options, nodes, proxies);
    try {
      await Promise.all(bench.apps.map((app) => app.start()));
      await bench.allNodesUp();
      return bench;
    } catch (error) {
      await bench.end();
      throw error;
    }
  }

  /** The process of that name. @throws Error where there is none */
  app(name: string): App {
    return found(this.apps, ({ name: other }) => other === name, name);
  }

  /** The node of that id. @throws Error where there is none */
  node(id: string): BenchNode {
    return found(this.nodes, ({ id: other }) => other === id, id);
  }

  /** What stands between a process and a node. */
  proxy(app: string, node: string): FaultProxy {
    const proxy = this.#proxies.get(`${app} ${node}`);
    if (proxy === undefined) throw new Error(`there is no ${app} with a ${node}`);
    return proxy;
  }

  /** All that stands before a node. */
  proxiesOf(node: string): FaultProxy[] {
    return this.apps.map(({ name }) => this.proxy(name, node));
  }

  /** What each node holds, past the proxies. @throws Error where one does not answer */
  async scan(): Promise<Map<string, NodeContents>> {
    const contents = await Promise.all(
      this.nodes.map(({ server }) => scanNode(this.cell.storage, server.port)),
    );
    return new Map(this.nodes.map(({ id }, at) => [id, contents[at]!]));
  }

  /** What a process says of itself. @throws Error where it does not answer */
  async report(app: App): Promise<AppReport> {
    const answer = await askWorker(app.line, {
      ...{ method: "GET", path: "/report", cookie: undefined, patienceMs: 10_000 },
    });
    if (answer.kind === "whole") return JSON.parse(answer.body) as AppReport;
    throw new Error(`${app.name} does not say how it is: ${answer.why}`);
  }

  /** Resolves when every process that is in rotation holds every node for up, or suspect. @throws Error after `timeoutMs` */
  async allNodesUp(timeoutMs = 60_000): Promise<void> {
    await waitUntil(
      "every process reaches every node",
      async () => {
        const reports = await Promise.all(
          this.apps.filter(({ isInRotation }) => isInRotation).map((app) => this.report(app)),
        );
        return reports.every(({ nodes }) => nodes.every(({ state }) => state !== "down"));
      },
      { timeoutMs, everyMs: 100 },
    );
  }

  /** Ends every process, proxy and node. */
  async end(): Promise<void> {
    await Promise.all(this.apps.map((app) => app.kill()));
    await Promise.all([...this.#proxies.values()].map((proxy) => proxy.close()));
    await Promise.all(this.nodes.map(({ server }) => server.close()));
  }

  #app(name: string, { options = {}, nodeOrder, clockAheadMs, locking }: BenchOptions): App {
    const ids = this.nodes.map(({ id }) => id);
    const { storage, mode } = this.cell;
    const address = (id: string) => {
      const { host, port } = this.proxy(name, id);
      return `${id}:${storage === "redis" ? "redis://" : ""}${host}:${port}`;
    };
    const configuration: AppConfiguration = {
      name,
      mode: isSticky(this.cell) ? "sticky" : "non-sticky",
      backup: mode === "sticky-async" ? "async" : "sync",
      locking: locking ?? (isSticky(this.cell) ? "optimistic" : "all"),
      options: {
        nodes: (nodeOrder?.(name, ids) ?? ids).map(address).join(","),
        operationTimeoutMs,
        ...(typeof options === "function" ? options(name) : options),
      },
      clockAheadMs: clockAheadMs?.(name) ?? 0,
    };
    return new AppProcess<AppMessage>({
      ...{ name, program, configuration },
      onMessage: (message) => this.#note(name, message),
      onLine: (line) => this.logs.noteLine(name, line),
    });
  }

  #note(app: string, message: AppMessage): void {
    if (message.kind === "thinking") this.thinking.set(message.id, message.count);
    if (message.kind === "unhandled") this.logs.unhandled.push(`${app}: ${message.error}`);
    if (message.kind === "event") {
      const { event, detail } = message;
      this.logs.events.push({ app, event, detail, atMs: performance.now() });
    }
  }
}

const appNames = ({ appCount = 2 }: BenchOptions): string[] => numbered("app", appCount);

const numbered = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, at) => `${prefix}${at + 1}`);

async function startNodes(
  { storage }: Cell,
  { nodeCount = 3, nodeArguments = () => [] }: BenchOptions,
): Promise<BenchNode[]> {
  const program = storage === "memcached" ? memcachedCommand : redisCommand;
  const start = (id: string) => startServer(program(...nodeArguments(id)));
  const ids = numbered("n", nodeCount);
  const servers = await Promise.all(ids.map(start));
  return servers.map((server, at) => ({ id: ids[at]!, server }));
}

async function startProxies(
  apps: readonly string[],
  nodes: readonly BenchNode[],
): Promise<Map<string, FaultProxy>> {
  const pairs = apps.flatMap((app) => nodes.map((node) => ({ app, node })));
  const proxies = await Promise.all(pairs.map(({ node }) => startFaultProxy(node.server.port)));
  return new Map(pairs.map(({ app, node }, at) => [`${app} ${node.id}`, proxies[at]!]));
}

function found<T>(all: readonly T[], isIt: (each: T) => boolean, name: string): T {
  const it = all.find(isIt);
  if (it === undefined) throw new Error(`there is no ${name}`);
  return it;
}
