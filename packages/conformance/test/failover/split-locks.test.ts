import { createSessionManager, memoryStorage, type SessionExchange, type SessionManager } from "@msm/core";
import { expect, it, onTestFinished } from "vitest";
import { type FaultyStorage, faulty, type TestClock, testClient, testClock } from "../../src/index.js";
import { open } from "../locking/stage.js";

const nodeIds = ["n1", "n2", "n3"];
const secret = "the secret of processes that disagree";

/** A process, and its own way to each node. */
interface Process {
  readonly manager: SessionManager;
  readonly ways: Readonly<Record<string, FaultyStorage>>;
}

/** Processes around the same nodes, each of which can be cut off from a node while the others reach it. */
function startProcesses(count: number, clock: TestClock): Process[] {
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

function append({ session }: SessionExchange, id: string): void {
  const { attributes } = session!;
  attributes.list = [...((attributes.list as string[] | undefined) ?? []), id];
}

async function commit(exchange: SessionExchange): Promise<string> {
  const { outcome } = await exchange.commit();
  await exchange.end();
  return outcome;
}

/** What a promise gives while time passes: who waits for a lease asks again after a while. */
async function passing<T>(clock: TestClock, promise: Promise<T>): Promise<T> {
  let isDone = false;
  void promise.finally(() => {
    isDone = true;
  });
  while (!isDone) await clock.turn(20);
  return promise;
}

it("two processes that lock a session on different nodes keep what they acknowledge, and nothing of what they refuse", async () => {
  const clock = testClock();
  const [one, two] = startProcesses(2, clock) as [Process, Process];
  const client = testClient();
  await client.visit(two.manager, (attributes) => {
    attributes.list = [];
  });
  await clock.turn(100);
  const primary = client.cookie!.split("-")[1]!;
  one.ways[primary]!.goDown();
  await clock.turn(1100);

  const [first, second] = [await open(one.manager, client.cookie), await open(two.manager, client.cookie)];
  const waiting = open(two.manager, client.cookie);
  append(first, "first");
  append(second, "second");
  const outcomes = new Map([["first", await commit(first)]]);
  outcomes.set("second", await passing(clock, commit(second)));
  const last = await passing(clock, waiting);
  append(last, "last");
  outcomes.set("last", await passing(clock, commit(last)));

  expect(outcomes.get("first")).toBe("stored");
  expect(outcomes.get("second")).toBe("failed");
  const acknowledged = [...outcomes].filter(([, outcome]) => outcome === "stored").map(([id]) => id);
  for (const { manager } of [one, two]) {
    const { session } = await passing(clock, testClient(client.cookie).visit(manager));
    expect(session?.attributes.list).toEqual(acknowledged);
  }
});
