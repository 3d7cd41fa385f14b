import { expect, it } from "vitest";
import { cluster, testClient } from "../../../src/index.js";

it("a handler that deletes the attribute for which save() failed gets its other changes stored", async () => {
  const running = cluster();
  const manager = running.start();
  const client = testClient();
  const exchange = await client.open(manager);
  const { attributes } = exchange.session!;
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  attributes.user = "ann";
  attributes.circular = circular;
  await expect(exchange.session!.save()).rejects.toThrow("MSM_ERR_CODEC");
  delete attributes.circular;
  const { result } = await client.finish(exchange);
  await running.close();
  expect(result.outcome).toBe("stored");
});
