import { memoryStorage } from "@msm/core";
import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

for (const then of ["no node answers in time", "the nodes have restarted empty"]) {
  it(`sticky: a session that this process knows to be destroyed is not served when ${then}`, async () => {
    const running = cluster({ mode: "sticky" } as ClusterOptions);
    const [owner, other] = [running.start("app1"), running.start("app2")];
    const client = testClient();
    await client.visit(owner, (attributes) => {
      attributes.user = "ann";
    });
    const { cookie } = client;
    const stale = testClient(cookie);
    await client.visit(other, (_, session) => session.destroy());
    const { result } = await stale.visit(owner, (attributes) => {
      attributes.x = 1;
    });
    expect(result.outcome).toBe("discarded"); // from now on app1 knows

    for (const node of Object.values(running.nodes)) {
      if (then.startsWith("no node")) node.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
      else node.restartAs(memoryStorage({ clock: running.clock }));
    }
    const { session } = await testClient(cookie)
      .visit(owner)
      .catch(() => ({ session: undefined }));
    const user = session?.attributes.user;
    await running.close();
    expect(user).toBeUndefined();
  });
}
