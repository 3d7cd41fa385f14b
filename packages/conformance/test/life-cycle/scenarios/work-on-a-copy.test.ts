import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

it("non-sticky: what work stored is found under the client's cookie, though a node missed one question", async () => {
  const running = cluster({ mode: "non-sticky", nodeIds: ["n1", "n2", "n3"] } as ClusterOptions);
  const one = running.start("app1");
  const client = testClient();
  let id = "";
  await client.visit(one, (attributes, session) => {
    attributes.user = "ann";
    id = session.id;
  });
  const home = running.nodes[client.cookie!.split("-")[1]!]!;
  home.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  await one.withSession(id, (session) => {
    session.attributes.messages = 1;
  });
  await running.clock.turn(5000);
  const { session } = await client.visit(one);
  const { messages } = session!.attributes;
  await running.close();

  expect(messages).toBe(1);
});
