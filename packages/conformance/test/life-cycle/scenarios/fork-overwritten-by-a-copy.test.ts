import { expect, it } from "vitest";
import { cluster, type FaultyStorage, testClient } from "../../../src/index.js";

const pause = async () => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** Holds back each copy that is on its way to this node, until it is let go. */
function holdCopies(node: FaultyStorage): (() => Promise<void>)[] {
  const held: (() => Promise<void>)[] = [];
  const { putIfNewer } = node;
  node.putIfNewer = async (...args) => {
    await new Promise<void>((resolve) => {
      held.push(() => {
        resolve();
        return pause();
      });
    });
    return putIfNewer.apply(node, args);
  };
  return held;
}

it("non-sticky: a save on the secondary, after one lost read, is not acknowledged where a copy of the primary's later version replaced it", async () => {
  const running = cluster();
  const manager = running.start();
  const client = testClient();
  await client.visit(manager, (attributes) => {
    attributes.user = "ann";
  });
  const id = client.cookie!.split("-")[1]!;
  const primary = running.nodes[id]!;
  const secondary = running.nodes[id === "n1" ? "n2" : "n1"]!;

  primary.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  const [a, b, c] = [testClient(client.cookie), testClient(client.cookie), testClient(client.cookie)];
  const ofA = await a.open(manager); // the primary's answer is lost: goes on with the secondary
  const [ofB, ofC] = [await b.open(manager), await c.open(manager)];
  ofA.session!.attributes.a = 1;
  ofB.session!.attributes.b = 1;
  ofC.session!.attributes.c = 1;

  const [toSecondary, toPrimary] = [holdCopies(secondary), holdCopies(primary)];
  const doneB = b.finish(ofB); // version 2 on the primary
  await pause();
  const doneC = c.finish(ofC); // version 3 on the primary, merged with 2
  await pause();
  const doneA = a.finish(ofA); // another version 2, on the secondary
  await pause();
  await toSecondary[1]!(); // C's copy replaces it
  await toPrimary[0]?.(); // if there is one: A's copy finds version 3, and so does A on the secondary
  await toSecondary[0]!();
  let settled = false;
  const all = Promise.all([doneA, doneB, doneC]).finally(() => {
    settled = true;
  });
  while (!settled) {
    for (const letGo of [...toSecondary.splice(0), ...toPrimary.splice(0)]) await letGo();
    await pause();
  }
  const [{ result }] = await all;
  for (const node of [primary, secondary]) delete (node as Partial<FaultyStorage>).putIfNewer;
  const { session } = await testClient(client.cookie).visit(manager);
  const found = { ...session?.attributes };
  await running.close();

  expect(result.outcome).toBe("stored");
  expect(found).toEqual({ user: "ann", a: 1, b: 1, c: 1 });
});
