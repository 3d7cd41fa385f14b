import { expect, it } from "vitest";
import { cluster, testClient } from "../../../src/index.js";

it("a session whose handler gives it a very long idle timeout is stored readably, or refused", async () => {
  const running = cluster();
  const manager = running.start();
  const client = testClient();
  const { result } = await client.visit(manager, (attributes, session) => {
    attributes.user = "ann";
    try {
      session.idleTimeoutMs = Number.MAX_SAFE_INTEGER; // "never"
    } catch {
      // refused: right
    }
  });
  const { session } = await client.visit(manager);
  const user = session?.attributes.user;
  const { spoilt } = manager.stats().events;
  await running.close();
  expect({ outcome: result.outcome, user, spoilt }).toEqual({ outcome: "stored", user: "ann", spoilt: 0 });
});
