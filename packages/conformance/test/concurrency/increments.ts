import {
  type CommonOptions,
  createSessionManager,
  MsmError,
  type Session,
  type SessionManager,
  type Storage,
} from "@msm/core";
import {
  type FaultyStorage,
  faulty,
  type StorageVerb,
  type TestClient,
  testClient,
} from "../../src/index.js";

/** How many requests increment the counter. */
export const manyIncrements = 32;

/** Processes around the same nodes, as far as msm knows. */
export interface Processes {
  readonly managers: readonly SessionManager[];
  /** One that increments nothing and has nothing in memory: it tells what the nodes have. */
  readonly reader: SessionManager;
  /** Calls of a verb since the last `forgetCalls()`, of all processes but the reader at all nodes. */
  calls(verb: StorageVerb): number;
  /** Loads since then that were refused, as another had the lease. */
  refusedLoads(): number;
  forgetCalls(): void;
  close(): Promise<void>;
}

export interface ProcessesOptions {
  readonly mode: "sticky" | "non-sticky";
  readonly count: number;
  readonly locking: NonNullable<CommonOptions["locking"]>;
  readonly onConflict?: NonNullable<CommonOptions["onConflict"]>;
  /** Makes one process' connections to the nodes, in ring order. */
  readonly connect: () => readonly Storage[];
}

// So long that a busy machine lets nobody wait in vain: whoever is refused is refused for a reason.
const patience = { lockTimeoutMs: 25_000, leaseTtlMs: 10_000, operationTimeoutMs: 10_000 };
const stickyPatience = { backupTimeoutMs: 25_000 };

/** Starts processes that give up on nothing only because the machine is slow. */
export function startProcesses(options: ProcessesOptions): Processes {
  const nodes: FaultyStorage[] = [];
  let refusedLoads = 0;
  const noteRefusals = (node: FaultyStorage) => {
    const load = node.load.bind(node);
    node.load = async (...args) => {
      const result = await load(...args);
      if (result.kind === "locked") refusedLoads++;
      return result;
    };
  };
  const managers = Array.from({ length: options.count }, (_, index) => {
    const connections = options.connect().map(faulty);
    connections.forEach(noteRefusals);
    nodes.push(...connections);
    return startProcess(options, `app${index + 1}`, connections);
  });
  const reader = startProcess(options, "reader", options.connect());
  return {
    managers,
    reader,
    calls: (verb) => nodes.reduce((sum, node) => sum + node.counts()[verb], 0),
    refusedLoads: () => refusedLoads,
    forgetCalls() {
      refusedLoads = 0;
      for (const node of nodes) node.forgetCalls();
    },
    async close() {
      await Promise.all([...managers, reader].map((manager) => manager.close()));
    },
  };
}

function startProcess(
  { mode, locking, onConflict }: ProcessesOptions,
  route: string,
  connections: readonly Storage[],
): SessionManager {
  return createSessionManager({
    secret: "the secret of this test, of 32 bytes and more",
    ...(mode === "sticky" ? { mode, route, ...stickyPatience } : { mode }),
    ...patience,
    locking,
    ...(onConflict === undefined ? {} : { onConflict }),
    nodes: connections.map((storage, node) => ({ id: `n${node + 1}`, storage })),
  });
}

/** What a request does with its session before it increments. */
export type Before = (session: Session) => Promise<void> | void;

/** What became of 32 increments. */
export interface Tally {
  readonly acknowledged: number;
  /** What the counter says in the end. */
  readonly stored: number;
  /** The codes that the others were refused with. */
  readonly refused: readonly string[];
  readonly elapsedMs: number;
}

/**
 * Increments the counter of a new session 32 times, through the processes in turns.
 * @param order all at once, with the same cookie; or one after the other, as one browser does, with the newest cookie
 * @param before what each request does before it increments
 */
export async function incrementAll(
  { managers, reader }: Processes,
  order: "at once" | "in a row",
  before: Before,
): Promise<Tally> {
  const client = testClient();
  await client.visit(managers[0]!, (attributes) => {
    attributes.n = 0;
  });
  const { cookie } = client;
  const turns = Array.from({ length: manyIncrements }, (_, index) => managers[index % managers.length]!);

  const startedMs = performance.now();
  const outcomes =
    order === "at once"
      ? await Promise.all(turns.map((manager) => increment(manager, testClient(cookie), before)))
      : await inARow(turns, (manager) => increment(manager, client, before));
  const elapsedMs = performance.now() - startedMs;

  // Not as a request: that would take the session over, and its owner would look after it at some time later.
  const { id } = reader.tokens.read(`sid=${cookie}`)!;
  const stored = await reader.withSession(id, ({ attributes }) => Number(attributes.n), { lock: false });
  const refused = outcomes.filter((outcome) => outcome !== "stored");
  return { acknowledged: outcomes.length - refused.length, stored, refused, elapsedMs };
}

/** @returns "stored" where the client is told that it worked, else the code of what it is told */
async function increment(manager: SessionManager, client: TestClient, before: Before): Promise<string> {
  try {
    const { result } = await client.visit(manager, async (attributes, session) => {
      await before(session);
      attributes.n += 1;
    });
    return result.error?.code ?? result.outcome;
  } catch (error) {
    if (error instanceof MsmError) return error.code;
    throw error;
  }
}

async function inARow<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await work(item));
  return results;
}
