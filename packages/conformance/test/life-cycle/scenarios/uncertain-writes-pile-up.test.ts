import { expect, it, vi } from "vitest";
import { LiveSession } from "../../../../core/src/session/live-session.js";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

it("sticky: a node that refuses writes for an hour does not fill the memory with one session's attempts", async () => {
  const noted = vi.spyOn(LiveSession.prototype, "noteUncertain");
  const running = cluster({ mode: "sticky", nodeIds: ["n1"] } as ClusterOptions);
  const owner = running.start("app1");
  const client = testClient();
  await client.visit(owner, (attributes) => {
    attributes.n = 1;
  });
  running.nodes.n1!.failNext(100_000, "MSM_ERR_STORAGE_REFUSED"); // out of memory; pings and reads are answered
  running.nodes.n1!.load = (async () => ({ kind: "absent" })) as never;
  running.nodes.n1!.ping = async () => undefined;
  await client.visit(owner, (attributes) => {
    attributes.n = 2;
  });
  await running.clock.turn(1_000_000);
  expect(noted.mock.calls.length).toBeLessThan(100); // each call is an entry in a map that only a stored save empties
});
