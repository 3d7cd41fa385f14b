import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

const settle = () => new Promise((resolve) => setImmediate(resolve));

it("sticky: close() saves what is unsaved also while a stream is open", async () => {
  const running = cluster({ mode: "sticky", backup: "async", closeTimeoutMs: 500 } as ClusterOptions);
  const owner = running.start("app1");
  const stream = testClient();
  await stream.visit(owner, (attributes) => {
    attributes.n = 1;
  });
  await stream.open(owner); // server-sent events: open until the process ends
  const client = testClient();
  await client.visit(owner, (attributes) => {
    attributes.n = 1;
  });
  await running.clock.turn(100);
  for (const node of Object.values(running.nodes)) node.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  await client.visit(owner, (attributes) => {
    attributes.n = 2;
  });
  await settle();
  expect(owner.stats().unsavedSessions).toBe(1); // all nodes are well again; 500 ms are plenty to save it
  const closing = owner.close();
  await running.clock.turn(500);
  await closing;
  running.kill(owner);

  const { session } = await client.visit(running.start("app2"));
  expect(session?.attributes.n).toBe(2);
});

it("sticky: after close() nothing is asked of the nodes, though a stream was open", async () => {
  const running = cluster({ mode: "sticky", closeTimeoutMs: 500 } as ClusterOptions);
  const owner = running.start("app1");
  const stream = testClient();
  await stream.visit(owner, (attributes) => {
    attributes.n = 1;
  });
  await stream.open(owner); // server-sent events: open until the process ends
  const client = testClient();
  await client.visit(owner, (attributes) => {
    attributes.n = 1;
  });
  for (const node of Object.values(running.nodes)) node.goDown();
  await running.clock.turn(3000);
  const { result } = await client.visit(owner, (attributes) => {
    attributes.n = 2;
  });
  expect(result.outcome).toBe("kept");
  for (const node of Object.values(running.nodes)) node.comeBack();

  const closing = owner.close(); // the nodes are back, but nobody has probed them yet
  await settle();
  await running.clock.turn(499);
  await running.clock.turn(1);
  await closing;
  running.takeCounts();
  await running.clock.turn(3_600_000);
  expect(running.takeCounts(), "what the closed manager asks of its nodes").toEqual({});
});
