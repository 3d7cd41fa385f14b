import { memoryStorage } from "@msm/core";
import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

const begin = async () => {
  const running = cluster({ mode: "sticky", idleTimeoutMs: 10_000 } as ClusterOptions);
  const owner = running.start("app1");
  const client = testClient();
  await client.visit(owner, (attributes) => {
    attributes.user = "ann";
  });
  const primary = running.nodes[client.cookie!.split("-")[1]!]!;
  return { running, owner, client, primary };
};

it("sticky: a session expires idleTimeoutMs after its last use, whatever its renewal did (no fault)", async () => {
  const { running, owner, client } = await begin();
  await running.clock.turn(1000);
  await client.visit(owner); // the last use
  await running.clock.turn(11_500);

  const { session } = await client.visit(owner);
  await running.close();
  expect(session?.isNew).toBe(true);
});

it("sticky: a node that goes down does not prolong a session's life", async () => {
  const { running, owner, client, primary } = await begin();
  await running.clock.turn(6000);
  primary.goDown(); // the backup is moved, with a whole idle timeout to live
  await running.clock.turn(6000);

  // A 503 is right as well: the node that is down may have the session.
  const visit = await client.visit(owner).catch(() => undefined);
  const user = visit?.session?.attributes.user;
  await running.close();
  expect(user).toBeUndefined();
});

it("sticky: a node that reconnects does not prolong a session's life", async () => {
  const { running, owner, client, primary } = await begin();
  await running.clock.turn(6000);
  primary.restartAs(memoryStorage({ clock: running.clock }));
  await running.clock.turn(6000);

  const { session } = await client.visit(owner);
  await running.close();
  expect(session?.isNew).toBe(true);
});
