import { createSessionManager, memoryStorage, type SessionManager } from "@msm/core";
import { onTestFinished } from "vitest";
import { type FaultyStorage, faulty, type TestClock } from "../../src/index.js";

const nodeIds = ["n1", "n2", "n3"];
const secret = "the secret of processes that disagree";

/** A process, and its own way to each node. */
export interface Process {
  readonly manager: SessionManager;
  readonly ways: Readonly<Record<string, FaultyStorage>>;
}

/** Processes around the same nodes, each of which can be cut off from a node while the others reach it. */
export function startProcesses(count: number, clock: TestClock): Process[] {
  const nodes = nodeIds.map((id) => ({ id, storage: memoryStorage({ clock }) }));
  return Array.from({ length: count }, () => {
    const ways = Object.fromEntries(nodes.map(({ id, storage }) => [id, faulty(storage)]));
    const manager = createSessionManager({
      ...{ secret, clock, locking: "all" },
      nodes: nodeIds.map((id) => ({ id, storage: ways[id]! })),
    });
    onTestFinished(async () => {
      const closed = manager.close();
      await clock.turn(60_000);
      await closed;
    });
    return { manager, ways };
  });
}

/** What a promise gives while time passes: who waits for a lease asks again after a while. */
export async function passing<T>(clock: TestClock, promise: Promise<T>): Promise<T> {
  let isDone = false;
  void promise.finally(() => {
    isDone = true;
  });
  while (!isDone) await clock.turn(20);
  return promise;
}
