import {
  type Attributes,
  type CommitResult,
  createSessionManager,
  MsmError,
  memoryStorage,
  type Session,
  type SessionExchange,
  type SessionManager,
  type SessionManagerOptions,
  type Storage,
} from "@msm/core";
import { type FaultyStorage, faulty } from "./faulty.js";
import { type TestClock, testClock } from "./test-clock.js";

/** Options of a cluster's processes: those of the manager that a test may choose. */
export type ClusterOptions = Partial<Omit<SessionManagerOptions, "nodes" | "secret" | "clock">> & {
  /** The nodes' ids in ring order. Default n1, n2. */
  readonly nodeIds?: readonly string[];
  /** Makes the storage behind a node; each process of the cluster gets it. Default: memory. */
  readonly createStorage?: (clock: TestClock) => Storage;
  /** The clock of all processes and nodes. Default: one that stands still until it is turned. */
  readonly clock?: TestClock;
};

/** Application processes around the same nodes, in one process and on one clock. */
export interface Cluster {
  readonly clock: TestClock;
  /** The nodes, to let them fail and to count what they were asked. */
  readonly nodes: Readonly<Record<string, FaultyStorage>>;
  /** Starts an application process; `route` is its name in sticky mode. */
  start(route?: string, options?: Partial<SessionManagerOptions>): SessionManager;
  /** Ends a process without a chance to say goodbye: nothing that it does reaches a node from now on. */
  kill(manager: SessionManager): void;
  /** Counts of all verbs on all nodes, without pings; and forgets them. */
  takeCounts(): Record<string, number>;
  close(): Promise<void>;
}

const secret = "the cluster's secret, of more than 32 bytes";

/** Makes a cluster of memory nodes that fail on command. */
export function cluster({
  nodeIds = ["n1", "n2"],
  createStorage,
  clock = testClock(),
  ...options
}: ClusterOptions = {}): Cluster {
  const create = createStorage ?? ((nodeClock: TestClock) => memoryStorage({ clock: nodeClock }));
  const nodes = Object.fromEntries(nodeIds.map((id) => [id, faulty(create(clock))]));
  const managers: SessionManager[] = [];
  const lines = new Map<SessionManager, { cut: boolean }>();

  return {
    clock,
    nodes,
    start(route = `app${managers.length + 1}`, more = {}) {
      const sticky = (more.mode ?? options.mode) === "sticky" ? { route } : {};
      const line = { cut: false };
      const manager = createSessionManager({
        ...options,
        ...sticky,
        ...more,
        secret,
        clock,
        nodes: nodeIds.map((id) => ({ id, storage: connection(nodes[id]!, line) })),
      } as SessionManagerOptions);
      managers.push(manager);
      lines.set(manager, line);
      return manager;
    },
    kill(manager) {
      const line = lines.get(manager);
      if (line !== undefined) line.cut = true;
    },
    takeCounts() {
      const counts: Record<string, number> = {};
      for (const node of Object.values(nodes)) {
        for (const [verb, count] of Object.entries(node.counts())) {
          if (verb !== "ping" && count > 0) counts[verb] = (counts[verb] ?? 0) + count;
        }
        node.forgetCalls();
      }
      return counts;
    },
    async close() {
      for (const node of Object.values(nodes)) node.comeBack();
      await Promise.all(managers.map((manager) => closeWith(manager, clock)));
    },
  };
}

/** One process' connection to a node: ends without ending the node, and is cut with its process. */
function connection(node: FaultyStorage, line: { readonly cut: boolean }): Storage {
  const through = <T>(call: () => Promise<T>): Promise<T> =>
    line.cut ? Promise.reject(new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "the process was killed")) : call();
  const listen = (key: string, listener: () => void): (() => void) => {
    const tell = () => {
      if (!line.cut) listener();
    };
    return node.onRelease?.(key, tell) ?? (() => {});
  };
  return {
    kind: node.kind,
    ...(node.onRelease && { onRelease: listen }),
    load: (...args) => through(() => node.load(...args)),
    save: (...args) => through(() => node.save(...args)),
    putIfNewer: (...args) => through(() => node.putIfNewer(...args)),
    touch: (...args) => through(() => node.touch(...args)),
    renewLease: (...args) => through(() => node.renewLease(...args)),
    unlock: (...args) => through(() => node.unlock(...args)),
    ping: () => through(() => node.ping()),
    get run() {
      return node.run;
    },
    close: async () => {},
  };
}

/** A manager's close() waits on the clock at most; the clock of a test does not run by itself. */
async function closeWith(manager: SessionManager, clock: TestClock): Promise<void> {
  const closed = manager.close();
  await clock.turn(60_000);
  await closed;
}

/** What a request came to. */
export interface Visit {
  readonly result: CommitResult;
  /** The Set-Cookie of the response. */
  readonly setCookie: string | undefined;
  readonly session: Session | undefined;
}

/** A browser with a jar for one cookie. */
export interface TestClient {
  /** The cookie that the next request sends. */
  cookie: string | undefined;
  /** One whole request: opens the session, runs the handler, commits, takes the cookie, ends. */
  visit(
    manager: SessionManager,
    handler?: (attributes: Attributes, session: Session) => unknown,
  ): Promise<Visit>;
  /** Opens a request and leaves it open. */
  open(manager: SessionManager): Promise<SessionExchange>;
  /** Commits an open request, takes its cookie, and ends it. */
  finish(exchange: SessionExchange): Promise<Visit>;
}

/** Makes a browser; without a cookie it is a new visitor. */
export function testClient(cookie?: string): TestClient {
  const client: TestClient = {
    cookie,
    open: async (manager) =>
      manager.open({
        method: "GET",
        url: "/",
        secure: false,
        cookieHeader: client.cookie === undefined ? undefined : `sid=${client.cookie}`,
      }),
    async finish(exchange) {
      const result = await exchange.commit();
      const setCookie = exchange.cookie();
      const value = setCookie === undefined ? undefined : /^sid=([^;]*)/.exec(setCookie)?.[1];
      if (value !== undefined) client.cookie = value === "" ? undefined : value;
      await exchange.end();
      return { result, setCookie, session: exchange.session };
    },
    async visit(manager, handler) {
      const exchange = await client.open(manager);
      if (handler && exchange.session) await handler(exchange.session.attributes, exchange.session);
      return client.finish(exchange);
    },
  };
  return client;
}
