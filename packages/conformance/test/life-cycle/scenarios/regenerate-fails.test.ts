import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

const begin = async (mode: "sticky" | "non-sticky") => {
  const running = cluster({ mode } as ClusterOptions);
  const manager = running.start("app1");
  const client = testClient();
  await client.visit(manager, (attributes) => {
    attributes.cart = [1];
  });
  return { running, manager, client, all: Object.values(running.nodes) };
};

it("sticky, all nodes down: a regenerate() whose commit fails does not end the session that the client still has", async () => {
  const { running, manager, client, all } = await begin("sticky");
  for (const node of all) node.goDown();
  await running.clock.turn(3000);
  const exchange = await client.open(manager);
  await exchange.session!.regenerate({ keep: "all" });
  const { result } = await client.finish(exchange);
  expect(result.outcome === "kept" || result.outcome === "failed").toBe(true);
  for (const node of all) node.comeBack();
  await running.clock.turn(5000);

  const { session } = await client.visit(manager);
  const cart = session?.attributes.cart;
  await running.close();
  expect({ outcome: result.outcome, cart }).toMatchObject({ cart: [1] });
});

for (const mode of ["sticky", "non-sticky"] as const) {
  it(`${mode}: regenerate() during a save() ends the old session only once the new one is stored`, async () => {
    const { running, manager, client, all } = await begin(mode);
    const exchange = await client.open(manager);
    exchange.session!.attributes.n = 1;
    const saving = exchange.session!.save();
    await Promise.resolve();
    await Promise.resolve(); // the save is on its way
    await exchange.session!.regenerate({ keep: "all" });
    await saving;
    for (const node of all) node.failNext(2, "MSM_ERR_STORAGE_REFUSED");
    expect((await client.finish(exchange)).result.outcome).toBe("failed");
    for (const node of all) node.comeBack();

    const { session } = await client.visit(manager); // still with the old cookie
    const cart = session?.attributes.cart;
    await running.close();
    expect(cart).toEqual([1]);
  });
}

it("sticky: a regenerate() whose commit fails puts nothing into the session under the old id", async () => {
  const { running, manager, client, all } = await begin("sticky");
  const attacker = testClient(client.cookie); // knows the id from before the login
  const exchange = await client.open(manager);
  exchange.session!.attributes.user = "ann";
  await exchange.session!.regenerate({ keep: "all" });
  for (const node of all) node.failNext(2, "MSM_ERR_STORAGE_REFUSED");
  expect((await client.finish(exchange)).result.outcome).toBe("failed");

  const { session } = await attacker.visit(manager);
  const user = session?.attributes.user;
  await running.close();
  expect(user).toBeUndefined();
});

it("sticky: reload() after regenerate() does not lose the session", async () => {
  const { running, manager, client } = await begin("sticky");
  const exchange = await client.open(manager);
  await exchange.session!.regenerate({ keep: "all" });
  await exchange.session!.reload().catch(() => {});
  const { result } = await client.finish(exchange);
  expect(result.outcome).not.toBe("failed");
  const { session } = await client.visit(manager);
  const cart = session?.attributes.cart;
  await running.close();
  expect(cart).toEqual([1]);
});
