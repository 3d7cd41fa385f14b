import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

it("sticky: a session that is destroyed while its save fails is not kept as unsaved for ever", async () => {
  const running = cluster({ mode: "sticky", backup: "async" } as ClusterOptions);
  const owner = running.start("app1");
  const client = testClient();
  await client.visit(owner, (attributes) => {
    attributes.n = 1;
  });
  await running.clock.turn(1000);
  const exchange = await client.open(owner);
  exchange.session!.attributes.n = 2;
  for (const node of Object.values(running.nodes)) node.failNext(1, "MSM_ERR_STORAGE_REFUSED");
  await exchange.session!.save(); // on its way, in the background
  await exchange.session!.destroy();
  await client.finish(exchange);
  await running.clock.turn(3_600_000);
  const { unsavedSessions, localSessions } = owner.stats();
  await running.close();
  expect({ unsavedSessions, localSessions }).toEqual({ unsavedSessions: 0, localSessions: 0 });
});
