import { memoryStorage } from "@msm/core";
import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

for (const mode of ["non-sticky", "sticky"] as const) {
  for (const fault of ["is down", "restarts empty"] as const) {
    it(`${mode}: a session that was destroyed stays so when its primary ${fault}, in every process`, async () => {
      const running = cluster({ mode, nodeIds: ["n1", "n2", "n3"] } as ClusterOptions);
      const manager = running.start("app1");
      const client = testClient();
      await client.visit(manager, (attributes) => {
        attributes.user = "ann";
      });
      const replay = testClient(client.cookie);
      const primary = running.nodes[client.cookie!.split("-")[1]!]!;
      await client.visit(manager, (_, session) => session.destroy());

      if (fault === "is down") primary.goDown();
      else primary.restartAs(memoryStorage({ clock: running.clock }));

      const { session } = await replay.visit(running.start("app2"));
      await running.close();
      expect(session?.attributes.user).toBeUndefined();
      expect(session?.isNew).toBe(true);
    });
  }
}
