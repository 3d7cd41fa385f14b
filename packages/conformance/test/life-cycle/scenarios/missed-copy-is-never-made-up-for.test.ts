import { expect, it } from "vitest";
import { cluster, testClient } from "../../../src/index.js";

const increment = (attributes: { n?: number }) => {
  attributes.n = (attributes.n ?? 0) + 1;
};

for (const fault of ["one timed-out copy", "secondary down for 3 s, keeps its data"]) {
  it(`non-sticky, 2 nodes: after ${fault}, an acknowledged write survives the loss of the primary an idle timeout later`, async () => {
    const running = cluster({ idleTimeoutMs: 10_000 });
    const manager = running.start();
    const client = testClient();
    await client.visit(manager, increment);
    const hint = client.cookie!.split("-")[1]!;
    const primary = running.nodes[hint]!;
    const secondary = Object.entries(running.nodes).find(([id]) => id !== hint)![1];

    if (fault.startsWith("one")) secondary.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
    else {
      secondary.goDown();
      await running.clock.turn(3000);
    }
    expect((await client.visit(manager, increment)).result.outcome).toBe("stored"); // n = 2, acknowledged
    secondary.comeBack();
    for (let i = 0; i < 10; i++) {
      await running.clock.turn(4000); // 40 s, four idle timeouts: plenty of time to make the copy up
      expect((await client.visit(manager)).session?.attributes.n).toBe(2);
    }
    expect(manager.health().nodes.every(({ state }) => state === "up")).toBe(true);

    primary.goDown();
    const { session } = await client.visit(manager);
    await running.close();
    expect(session?.attributes.n).toBe(2);
  });
}
