import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

it("sticky: what a stream committed at its end on another node is found when the owner dies", async () => {
  const running = cluster({ mode: "sticky" } as ClusterOptions);
  const owner = running.start("app1");
  const client = testClient();
  await client.visit(owner, (attributes) => {
    attributes.n = 1;
  });
  const exchange = await client.open(owner);
  expect((await exchange.commit()).outcome).toBe("unneeded"); // the headers go out
  expect(exchange.cookie()).toBeUndefined();
  exchange.session!.attributes.n = 2;
  running.nodes[client.cookie!.split("-")[1]!]!.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  expect((await exchange.commit()).outcome).toBe("stored"); // acknowledged, on the other node
  await exchange.end();
  await running.clock.turn(60_000);

  running.kill(owner);
  const { session } = await client.visit(running.start("app2"));
  const n = session?.attributes.n;
  await running.close();
  expect(n).toBe(2);
});

it("sticky, asynchronous: what was saved long ago on another node is found when the owner dies", async () => {
  const running = cluster({ mode: "sticky", backup: "async" } as ClusterOptions);
  const owner = running.start("app1");
  const client = testClient();
  await client.visit(owner, (attributes) => {
    attributes.n = 1;
  });
  await running.clock.turn(1000);
  running.nodes[client.cookie!.split("-")[1]!]!.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  await client.visit(owner, (attributes) => {
    attributes.n = 2;
  });
  await running.clock.turn(60_000); // 240 times maxBackupLagMs
  expect(owner.stats().unsavedSessions).toBe(0);

  running.kill(owner);
  const { session } = await client.visit(running.start("app2"));
  const n = session?.attributes.n;
  await running.close();
  expect(n).toBe(2);
});

it("non-sticky, 3 nodes: what a stream committed at its end on another node is read by the next request", async () => {
  const running = cluster({ nodeIds: ["n1", "n2", "n3"] });
  const manager = running.start();
  const client = testClient();
  await client.visit(manager, (attributes) => {
    attributes.n = 1;
  });
  const exchange = await client.open(manager);
  await exchange.commit();
  exchange.cookie();
  exchange.session!.attributes.n = 2;
  running.nodes[client.cookie!.split("-")[1]!]!.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  expect((await exchange.commit()).outcome).toBe("stored");
  await exchange.end();
  await running.clock.turn(10_000);

  const { session } = await client.visit(manager);
  const n = session?.attributes.n;
  await running.close();
  expect(n).toBe(2);
});

it("sticky: what a stream committed twice after its session moved is found when the owner dies", async () => {
  const running = cluster({ mode: "sticky" } as ClusterOptions);
  const owner = running.start("app1");
  const client = testClient();
  await client.visit(owner, (attributes) => {
    attributes.n = 1;
  });
  const exchange = await client.open(owner);
  await exchange.commit();
  exchange.cookie();
  running.nodes[client.cookie!.split("-")[1]!]!.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  for (const n of [2, 3]) {
    exchange.session!.attributes.n = n;
    expect((await exchange.commit()).outcome).toBe("stored");
    await running.clock.turn(5000);
  }
  await exchange.end();

  running.kill(owner);
  const { session } = await client.visit(running.start("app2"));
  const n = session?.attributes.n;
  await running.close();
  expect(n).toBe(3);
});
