import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

it("sticky: reload() works in a session that is in memory only, while all nodes are down", async () => {
  const running = cluster({ mode: "sticky" } as ClusterOptions);
  const owner = running.start("app1");
  for (const node of Object.values(running.nodes)) node.goDown();
  await running.clock.turn(3000);
  const client = testClient();
  await client.visit(owner, (attributes) => {
    attributes.n = 1;
  });
  const exchange = await client.open(owner);
  await exchange.session!.reload();
  expect(exchange.session!.attributes.n).toBe(1);
  await exchange.end();
  await running.close();
});
