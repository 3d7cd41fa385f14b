import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

for (const mode of ["non-sticky", "sticky"] as const) {
  for (const code of ["MSM_ERR_STORAGE_TIMEOUT", "MSM_ERR_STORAGE_REFUSED"] as const) {
    it(`${mode}: a session whose destroy() resolved is dead, also where one node answered ${code} to the tombstone`, async () => {
      const running = cluster({ mode } as ClusterOptions);
      const manager = running.start("app1");
      const client = testClient();
      await client.visit(manager, (attributes) => {
        attributes.user = "ann";
      });
      const replay = testClient(client.cookie);
      const primary = running.nodes[client.cookie!.split("-")[1]!]!;

      const exchange = await client.open(manager);
      primary.failNext(1, code);
      await exchange.session!.destroy(); // resolves: the client is told that it is logged out
      await client.finish(exchange);

      const { session } = await replay.visit(manager);
      await running.close();
      expect(session?.attributes.user).toBeUndefined();
    });
  }
}
