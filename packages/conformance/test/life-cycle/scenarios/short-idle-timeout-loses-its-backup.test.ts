import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

it("sticky: a session with a shorter idle timeout of its own, only read, is never without its backup", async () => {
  const running = cluster({ mode: "sticky" } as ClusterOptions); // the usual 30 minutes
  const owner = running.start("app1");
  const client = testClient();
  await client.visit(owner, (attributes, session) => {
    attributes.user = "ann";
    session.idleTimeoutMs = 20_000;
  });
  for (let i = 0; i < 10; i++) {
    await running.clock.turn(5000);
    await client.visit(owner);
  }

  running.kill(owner);
  const { session } = await client.visit(running.start("app2"));
  const user = session?.attributes.user;
  await running.close();
  expect(user).toBe("ann");
});
