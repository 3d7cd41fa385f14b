import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

it("sticky: what a request stores whose session another process took over meanwhile is not lost, though one save had to go to another node", async () => {
  const running = cluster({ mode: "sticky" } as ClusterOptions);
  const [one, other, third] = [running.start("app1"), running.start("app2"), running.start("app3")];
  const client = testClient();
  await client.visit(one, (attributes) => {
    attributes.user = "ann";
  });
  const primary = running.nodes[client.cookie!.split("-")[1]!]!;
  const { cookie } = client;

  // app2 takes the session over; its save is lost on the way, and goes to the other node.
  const { save } = primary;
  let isLost = false;
  primary.save = (...args) => {
    if (isLost) return save.apply(primary, args);
    isLost = true;
    primary.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
    return save.apply(primary, args);
  };
  const slow = await client.open(other);
  await running.clock.turn(5000); // all is well again: the primary has got what it missed

  // Meanwhile another tab's request, with the cookie that is still out, is sent to app3.
  await testClient(cookie).visit(third);
  slow.session!.attributes.order = 1;
  const { result } = await client.finish(slow);
  const { session } = await client.visit(third);
  const order = session?.attributes.order;
  await running.close();

  expect(result.outcome).toBe("stored");
  expect(order).toBe(1);
});
