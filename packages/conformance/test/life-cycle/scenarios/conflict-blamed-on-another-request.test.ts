import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

it('sticky, onConflict "fail": of two requests whose changes are saved together, the one that lost its change is told so', async () => {
  const running = cluster({ mode: "sticky", onConflict: "fail" } as ClusterOptions);
  const [one, other] = [running.start("app1"), running.start("app2")];
  const client = testClient();
  await client.visit(one, (attributes) => {
    attributes.count = "0";
  });
  const { cookie } = client;
  const [a, b] = [testClient(cookie), testClient(cookie)];
  const [ofA, ofB] = [await a.open(other), await b.open(other)];
  await testClient(cookie).visit(one, (attributes) => {
    attributes.count = "of app1";
  });

  ofA.session!.attributes.own = 1;
  ofB.session!.attributes.count = "of app2";
  const [{ result: resultA }, { result: resultB }] = await Promise.all([a.finish(ofA), b.finish(ofB)]);
  const { session } = await b.visit(other);
  const { count } = session!.attributes;
  await running.close();

  expect({ count, a: resultA.outcome, b: resultB.outcome }).toEqual({
    count: "of app1",
    a: "stored",
    b: "failed",
  });
});
