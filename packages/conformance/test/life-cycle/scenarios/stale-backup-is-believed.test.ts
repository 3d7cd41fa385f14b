import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

const increment = (attributes: { n?: number }) => {
  attributes.n = (attributes.n ?? 0) + 1;
};

it("sticky: one timed-out read at a takeover does not bring an older backup of the same owner back", async () => {
  const running = cluster({ mode: "sticky" } as ClusterOptions);
  const owner = running.start("app1");
  const client = testClient();
  const node = () => running.nodes[client.cookie!.split("-")[1]!]!;
  await client.visit(owner, increment);
  const first = node();
  first.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  await client.visit(owner, increment); // relocated: n = 2 is on the other node
  const second = node();
  expect(second).not.toBe(first);
  await running.clock.turn(60_000);
  second.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  await client.visit(owner, increment); // and back: n = 3 on the first, 2 stays behind on the second
  expect(node()).toBe(first);
  await running.clock.turn(60_000);

  first.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  // A 503 would be right; going back in time is not.
  const { session } = await client
    .visit(running.start("app2"), increment)
    .catch(() => client.visit(running.start("app3"), increment));
  await running.close();
  expect(session?.attributes.n).toBe(4);
});
