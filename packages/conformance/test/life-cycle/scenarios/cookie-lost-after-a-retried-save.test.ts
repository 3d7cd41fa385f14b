import { expect, it } from "vitest";
import { cluster, testClient } from "../../../src/index.js";

it("a response whose last commit worked carries the cookie, though an earlier save() failed", async () => {
  const running = cluster();
  const manager = running.start();
  const client = testClient();
  const exchange = await client.open(manager);
  exchange.session!.attributes.user = "ann";
  for (const node of Object.values(running.nodes)) node.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  await expect(exchange.session!.save()).rejects.toThrow("MSM_ERR_STORAGE");
  const { result, setCookie } = await client.finish(exchange);
  await running.close();
  expect(result.outcome).toBe("stored"); // the client gets its 200
  expect(setCookie).toBeDefined(); // and can never use the session without this
});

it("a login whose last commit worked carries the new id, as the old session has ended", async () => {
  const running = cluster();
  const manager = running.start();
  const client = testClient();
  await client.visit(manager, (attributes) => {
    attributes.cart = [1];
  });
  const exchange = await client.open(manager);
  await exchange.session!.regenerate({ keep: "all" });
  exchange.session!.attributes.user = "ann";
  for (const node of Object.values(running.nodes)) node.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  await expect(exchange.session!.save()).rejects.toThrow("MSM_ERR_STORAGE");
  const { result } = await client.finish(exchange);
  expect(result.outcome).toBe("stored");
  const { session } = await client.visit(manager);
  await running.close();
  expect({ ...session?.attributes }).toEqual({ cart: [1], user: "ann" });
});
