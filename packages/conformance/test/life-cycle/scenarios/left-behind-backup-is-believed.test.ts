import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

it("sticky: a backup that was left behind is not believed, though the node of the newest misses two questions", async () => {
  const running = cluster({ mode: "sticky", nodeIds: ["n1", "n2"] } as ClusterOptions);
  const one = running.start("app1");
  const client = testClient();
  await client.visit(one, (attributes) => {
    attributes.cart = 1;
  });
  const home = running.nodes[client.cookie!.split("-")[1]!]!;
  const first = client.cookie;
  const exchange = await client.open(one);
  exchange.session!.attributes.cart = 2;
  const { save } = home;
  let saves = 0;
  home.save = (...args) => {
    if (++saves === 1) home.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
    return save.apply(home, args);
  };
  await exchange.session!.save();
  exchange.session!.attributes.cart = 3;
  await client.finish(exchange);
  await running.clock.turn(5000);
  // The balancer sends the next request elsewhere.
  home.failNext(2, "MSM_ERR_STORAGE_TIMEOUT");
  const two = running.start("app2");
  const cart = await client
    .visit(two)
    .then(({ session }) => session!.attributes.cart as number)
    .catch(() => "503");
  const cookies = [first, client.cookie];
  await running.close();

  expect([cart === 3 || cart === "503", cookies[0] !== undefined]).toEqual([true, true]);
});
