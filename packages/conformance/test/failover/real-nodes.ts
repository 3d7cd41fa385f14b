import { hash } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import {
  createSessionManager,
  type MsmError,
  memcachedStorage,
  redisStorage,
  type SessionEvents,
  type SessionManager,
  type SessionManagerOptions,
  type Storage,
} from "@msm/core";
import { Redis } from "ioredis";
import { expect, onTestFinished } from "vitest";
import {
  type FaultProxy,
  memcachedCommand,
  needsProgram,
  redisCommand,
  startFaultProxy,
  startServer,
  type TestClient,
  type TestServer,
  testClient,
  waitUntil,
} from "../../src/index.js";

/** Which server a node is. */
export type NodeKind = "memcached" | "redis";

/** Both kinds of servers, and whether a suite that needs one of them is skipped on this machine. */
export const nodeKinds = [
  { kind: "memcached", ...needsProgram("memcached") },
  { kind: "redis", ...needsProgram("redis-server") },
] as const;

/** The ways to keep sessions. */
export const modes = ["non-sticky", "sticky"] as const;

/** How sessions are kept. */
export type Mode = (typeof modes)[number];

/** A storage server of a test's own, as a node of a ring. */
export interface RealNode {
  readonly id: string;
  readonly kind: NodeKind;
  readonly server: TestServer;
  /** As in the option `nodes`, without an id. */
  readonly url: string;
  /** A client of its own, that asks the server past all proxies. */
  readonly storage: Storage;
}

/** A node that is reached through a proxy, so that it can be cut off and keep what it has. */
export interface ProxiedNode extends RealNode {
  readonly proxy: FaultProxy;
  /** Nothing comes through from now on, and connections end. */
  cutOff(): void;
  /** It can be reached again, with what it had. */
  reconnect(): void;
}

/** A busy machine must not look like a slow server, where slowness is not the point. */
const patientMs = 5000;

/** Starts empty servers n1, n2, …; they end with the test. */
export function startNodes(
  kind: NodeKind,
  count: number,
  ...serverArguments: string[]
): Promise<readonly RealNode[]> {
  return Promise.all(
    Array.from({ length: count }, (_, index) => startNode(kind, `n${index + 1}`, serverArguments)),
  );
}

async function startNode(kind: NodeKind, id: string, serverArguments: readonly string[]): Promise<RealNode> {
  const command = kind === "redis" ? redisCommand : memcachedCommand;
  const server = await startServer(command(...serverArguments));
  const storage = clientOf(kind, server.port);
  onTestFinished(async () => {
    await storage.close();
    await server.close();
  });
  return { id, kind, server, storage, url: urlOf(kind, server.port) };
}

/** Puts a proxy before each node: for all who get what this gives. */
export function throughProxies(nodes: readonly RealNode[]): Promise<readonly ProxiedNode[]> {
  return Promise.all(
    nodes.map(async (node): Promise<ProxiedNode> => {
      const proxy = await startFaultProxy(node.server.port);
      onTestFinished(() => proxy.close());
      return {
        ...node,
        proxy,
        url: urlOf(node.kind, proxy.port),
        cutOff() {
          proxy.refuse();
          proxy.endAll("rst");
        },
        reconnect: () => proxy.pass(),
      };
    }),
  );
}

const urlOf = (kind: NodeKind, port: number) =>
  kind === "redis" ? `redis://127.0.0.1:${port}` : `127.0.0.1:${port}`;

const clientOf = (kind: NodeKind, port: number): Storage =>
  kind === "redis"
    ? redisStorage({ url: urlOf(kind, port), operationTimeoutMs: patientMs })
    : memcachedStorage({ host: "127.0.0.1", port, operationTimeoutMs: patientMs });

/** The options of an application process, beside those that the stage gives it; `route` is its name in sticky mode. */
export type ProcessOptions = Partial<SessionManagerOptions> & {
  readonly mode?: Mode;
  readonly route?: string;
};

/**
 * Starts an application process on these nodes: a manager on the machine's clock. It ends with the test.
 * @param options those of the manager; sticky mode gets the route "app1" where they name none
 */
export function startProcess(nodes: readonly RealNode[], options: ProcessOptions = {}): SessionManager {
  const { route = "app1", ...others } = options;
  const manager = createSessionManager({
    secret: "the secret of these tests, of 32 bytes and more",
    operationTimeoutMs: patientMs,
    nodes: nodes.map(({ id, url }) => ({ id, url })),
    ...(options.mode === "sticky" ? { route, backupTimeoutMs: 2 * patientMs } : {}),
    ...others,
  } as SessionManagerOptions);
  onTestFinished(() => manager.close());
  return manager;
}

/** Resolves with the detail of the next event of that name which matches. Ask before doing what brings it about. */
export function nextEvent<E extends keyof SessionEvents>(
  manager: SessionManager,
  event: E,
  matches: (detail: SessionEvents[E]) => boolean = () => true,
): Promise<SessionEvents[E]> {
  return new Promise((resolve) => {
    const end = manager.on(event, (detail) => {
      if (!matches(detail)) return;
      end();
      resolve(detail);
    });
  });
}

/** What a cookie says. */
export function partsOf(cookie: string | undefined): {
  readonly id: string;
  readonly hint: string;
  readonly route: string | undefined;
} {
  const match = /^([0-9a-f]{48})-([A-Za-z0-9]+)-[\w-]{43}(?:\.([\w-]+))?$/.exec(cookie ?? "");
  if (match === null) throw new Error(`this is no session cookie: ${cookie}`);
  const [, id = "", hint = "", route] = match;
  return { id, hint, route };
}

/** The node of that id. */
export function nodeOf<N extends RealNode>(nodes: readonly N[], id: string): N {
  const node = nodes.find((candidate) => candidate.id === id);
  if (node === undefined) throw new Error(`there is no node ${id}`);
  return node;
}

/** The nodes in the order in which a session is looked for whose cookie has this hint. */
export function ringFrom<N extends RealNode>(nodes: readonly N[], hint: string): readonly N[] {
  const start = nodes.findIndex(({ id }) => id === hint);
  return [...nodes.slice(start), ...nodes.slice(0, start)];
}

/** Under which key the nodes have a session. */
export const keyOf = (id: string, prefix = "msm"): string => `${prefix}:{${hash("sha256", id, "base64url")}}`;

/** The version of a session's record that a node has, as a number, 1 for the first; undefined where it has none. */
export async function versionOn(node: RealNode, id: string): Promise<number | undefined> {
  const loaded = await node.storage.load(keyOf(id));
  return loaded.kind === "found" ? Number.parseInt(loaded.revision.version, 16) : undefined;
}

/** Puts bytes in the place of a session's record, as whoever has access to the server could. */
export async function overwriteRecord({ kind, server }: RealNode, id: string, bytes: Buffer): Promise<void> {
  const key = `${keyOf(id)}:s`;
  if (kind === "redis") {
    const redis = new Redis(server.port, server.host);
    await redis.set(key, bytes, "PX", 60_000);
    redis.disconnect();
    return;
  }
  const socket = connect(server.port, server.host);
  socket.write(`set ${key} 0 60 ${bytes.length}\r\n`);
  socket.write(bytes);
  socket.write("\r\n");
  const [reply] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  if (reply.toString() !== "STORED\r\n") throw new Error(`memcached did not store it: ${reply}`);
}

/** Begins a session with the attribute `user`. @returns whose it is, its id, its first node and its cookie */
export async function logIn(process: SessionManager, user: string) {
  const client = testClient();
  await client.visit(process, (attributes) => {
    attributes.user = user;
  });
  const { id, hint } = partsOf(client.cookie);
  return { user, client, id, hint, cookie: client.cookie };
}

/** Sessions are spread over the nodes: logs in until one is on the node that is wanted. */
export async function logInOn(node: string, process: SessionManager) {
  for (;;) {
    const loggedIn = await logIn(process, "ann");
    if (loggedIn.hint === node) return loggedIn;
  }
}

/** Visits, again and again while nobody can say whether there is a session. */
export async function visitUntilAnswered(client: TestClient, process: SessionManager) {
  let visit: Awaited<ReturnType<TestClient["visit"]>> | undefined;
  await waitUntil("the request is answered", async () => {
    visit = await client.visit(process).catch((error: MsmError) => {
      expect(error.status).toBe(503);
      return undefined;
    });
    return visit !== undefined;
  });
  return visit!;
}
