import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

it("sticky: a session that expired in memory while all nodes were down is not pushed, and does not come back", async () => {
  const running = cluster({ mode: "sticky", idleTimeoutMs: 10_000 } as ClusterOptions);
  const owner = running.start("app1");
  for (const node of Object.values(running.nodes)) node.goDown();
  await running.clock.turn(3000);
  const client = testClient();
  const { result } = await client.visit(owner, (attributes) => {
    attributes.user = "ann";
  });
  expect(result.outcome).toBe("kept");
  await running.clock.turn(60_000); // six idle timeouts
  expect(owner.stats().localSessions).toBe(0);
  const unsaved = owner.stats().unsavedSessions;

  for (const node of Object.values(running.nodes)) node.comeBack();
  await running.clock.turn(5000);
  const { session } = await client.visit(owner);
  await running.close();
  expect({ isNew: session?.isNew, user: session?.attributes.user, unsaved }).toEqual({
    isNew: true,
    user: undefined,
    unsaved: 0,
  });
});
