import { memoryStorage } from "@msm/core";
import { expect, it } from "vitest";
import { cluster, testClient } from "../../../src/index.js";

it("non-sticky: a node that is known to be down, and is not asked, is not taken to have nothing", async () => {
  const running = cluster();
  const manager = running.start();
  const client = testClient();
  await client.visit(manager, (attributes) => {
    attributes.user = "ann";
  });
  const primary = client.cookie!.split("-")[1]!;
  const secondary = Object.keys(running.nodes).find((id) => id !== primary)!;
  running.nodes[primary]!.goDown();
  await running.clock.turn(3000);
  expect(manager.health().nodes.find((node) => node.id === primary)?.state).toBe("down");

  running.nodes[secondary]!.restartAs(memoryStorage({ clock: running.clock }));

  await expect(client.visit(manager)).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
  running.nodes[primary]!.comeBack();
  await running.clock.turn(5000);
  expect((await client.visit(manager)).session?.attributes.user).toBe("ann");
  await running.close();
});
