import { memoryStorage } from "@msm/core";
import { expect, it } from "vitest";
import { cluster, testClient } from "../../../src/index.js";

it("non-sticky: a session destroyed between a save and its copy does not come back from the copy", async () => {
  const running = cluster();
  const manager = running.start();
  const client = testClient();
  await client.visit(manager, (attributes) => {
    attributes.user = "ann";
  });
  const replay = testClient(client.cookie);
  const hint = client.cookie!.split("-")[1]!;
  const primary = running.nodes[hint]!;
  const secondary = Object.entries(running.nodes).find(([id]) => id !== hint)![1];

  const [logout, writer] = [await client.open(manager), await testClient(client.cookie).open(manager)];
  const save = primary.save.bind(primary);
  primary.save = async (...args) => {
    const saved = await save(...args);
    primary.save = save;
    secondary.goDown(); // it misses the tombstone, and then the copy
    await logout.session!.destroy();
    return saved;
  };
  writer.session!.attributes.n = 1;
  await writer.commit();
  await Promise.all([logout.end(), writer.end()]);
  await running.clock.turn(3000);
  secondary.comeBack();
  await running.clock.turn(10_000); // what the node missed is delivered
  primary.restartAs(memoryStorage({ clock: running.clock })); // and much later one node is lost
  await running.clock.turn(3000);

  const visit = await replay.visit(manager).catch(() => undefined);
  const user = visit?.session?.attributes.user;
  await running.close();
  expect(user).toBeUndefined();
});
