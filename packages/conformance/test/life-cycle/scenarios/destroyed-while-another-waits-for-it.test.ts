import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

it("sticky: who waits for the lock of a session that is being destroyed does not get it, nor does anybody later", async () => {
  const running = cluster({ mode: "sticky", locking: "all", nodeIds: ["n1"] } as ClusterOptions);
  const one = running.start("app1");
  const client = testClient();
  await client.visit(one, (attributes) => {
    attributes.user = "ann";
  });
  const { cookie } = client;
  const node = running.nodes.n1!;
  const { putIfNewer } = node;
  let letTombstoneGo = () => {};
  const held = new Promise<void>((resolve) => {
    letTombstoneGo = resolve;
  });
  node.putIfNewer = async (...args) => {
    await held;
    return putIfNewer.apply(node, args);
  };

  const leaving = await testClient(cookie).open(one);
  const waiting = testClient(cookie).open(one);
  const destroyed = leaving.session!.destroy();
  await leaving.session!.release();
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  letTombstoneGo();
  await destroyed;
  await leaving.end();
  const waited = await waiting;
  const got = waited.session!.attributes.user;
  await waited.end();
  const later = (await testClient(cookie).visit(one)).session!.attributes.user;
  await running.close();

  expect([got, later]).toEqual([undefined, undefined]);
});
