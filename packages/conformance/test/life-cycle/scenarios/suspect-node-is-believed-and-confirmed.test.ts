import { expect, it } from "vitest";
import { cluster, testClient } from "../../../src/index.js";

const increment = (attributes: { n?: number }) => {
  attributes.n = (attributes.n ?? 0) + 1;
};

it("non-sticky: a suspect node's record is not believed, let alone confirmed, while the node with the newer one is silent", async () => {
  const running = cluster();
  const manager = running.start();
  const client = testClient();
  await client.visit(manager, increment);
  const hint = client.cookie!.split("-")[1]!;
  const primary = running.nodes[hint]!;
  const secondary = Object.entries(running.nodes).find(([id]) => id !== hint)![1];
  primary.goDown();
  await running.clock.turn(3000);
  expect((await client.visit(manager, increment)).result.outcome).toBe("stored"); // n = 2, on the secondary
  primary.comeBack();
  await running.clock.turn(3000);
  expect(
    manager
      .health()
      .nodes.map(({ state }) => state)
      .sort(),
  ).toEqual(["suspect", "up"]);

  secondary.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  await client.visit(manager).catch(() => undefined); // a 503 would be right
  await running.clock.turn(10_000);
  const later = (await client.visit(manager)).session?.attributes.n; // all nodes are well again
  await running.close();
  expect(later).toBe(2);
});
