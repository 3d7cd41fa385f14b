import { expect, it } from "vitest";
import { cluster, testClient } from "../../../src/index.js";

const increment = (attributes: { n?: number }) => {
  attributes.n = (attributes.n ?? 0) + 1;
};

it("non-sticky, 3 nodes: the renewal of copies keeps the newest copy alive, not an older one", async () => {
  const running = cluster({ idleTimeoutMs: 10_000, nodeIds: ["n1", "n2", "n3"] });
  const manager = running.start();
  const client = testClient();
  await client.visit(manager, increment);
  const ids = Object.keys(running.nodes);
  const at = ids.indexOf(client.cookie!.split("-")[1]!);
  const primary = running.nodes[ids[at]!]!;
  const secondary = running.nodes[ids[(at + 1) % 3]!]!;

  secondary.failNext(1, "MSM_ERR_STORAGE_TIMEOUT"); // the copy goes to the third node
  expect((await client.visit(manager, increment)).result.outcome).toBe("stored");
  for (let i = 0; i < 10; i++) {
    await running.clock.turn(4000);
    await client.visit(manager);
  }

  primary.goDown();
  const { session } = await client.visit(manager);
  await running.close();
  expect(session?.attributes.n).toBe(2);
});
