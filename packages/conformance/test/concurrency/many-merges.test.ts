import { expect, it, onTestFinished } from "vitest";
import { cluster, testClient } from "../../src/index.js";

it("non-sticky, onConflict a function: 32 increments that are saved at the same time are 32", async () => {
  const running = cluster({
    onConflict: ({ base, mine, theirs }) => Number(mine) + Number(theirs) - Number(base),
  });
  onTestFinished(() => running.close());
  const managers = [running.start(), running.start()] as const;
  const client = testClient();
  await client.visit(managers[0], (attributes) => {
    attributes.n = 0;
  });
  const exchanges = await Promise.all(
    Array.from({ length: 32 }, (_, index) => client.open(managers[index % 2]!)),
  );
  for (const exchange of exchanges) exchange.session!.attributes.n += 1;

  const commits = Promise.all(exchanges.map((exchange) => exchange.commit()));
  await running.clock.turn(10_000); // who meets newer versions again and again pauses in between
  const results = await commits;
  await Promise.all(exchanges.map((exchange) => exchange.end()));

  expect(results.filter(({ error }) => error !== undefined)).toEqual([]);
  expect((await client.visit(managers[0])).session?.attributes.n).toBe(32);
});
