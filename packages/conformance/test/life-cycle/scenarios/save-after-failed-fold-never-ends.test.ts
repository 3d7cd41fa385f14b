import { memoryStorage } from "@msm/core";
import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";
import { boundedSaves } from "./bounded-saves.js";

for (const mode of ["sticky", "non-sticky"] as const) {
  it(`${mode}: a commit after a failed save() (too large) settles, and does not tell the client that it worked`, async () => {
    const count = { saves: 0 };
    const running = cluster({
      mode,
      maxRecordBytes: 2000,
      createStorage: (clock) => boundedSaves(memoryStorage({ clock }), 100, count),
    } as ClusterOptions);
    const manager = running.start("app1");
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.n = 1;
    });
    const exchange = await client.open(manager);
    exchange.session!.attributes.big = "x".repeat(3000);
    // Express' idiom: req.session.save() that nobody awaits; "the commit at the end meets the same trouble".
    exchange.session!.save().catch(() => {});
    await new Promise((resolve) => setImmediate(resolve));
    const before = count.saves;

    let outcome: string | undefined;
    void Promise.resolve(exchange.commit()).then((result) => {
      outcome = result.outcome;
    });
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    expect({ outcome, saves: count.saves - before }).toEqual({ outcome: "failed", saves: 0 });
  });
}

it("a commit after a failed save() (cannot be encoded) does not tell the client that it worked", async () => {
  const running = cluster();
  const manager = running.start();
  const client = testClient();
  const exchange = await client.open(manager);
  exchange.session!.attributes.n = 1n;
  exchange.session!.save().catch(() => {});
  const { result } = await client.finish(exchange);
  await running.close();
  expect(result.outcome).toBe("failed");
});

it("a commit after a failed save() (onConflict: fail) does not tell the client that it worked", async () => {
  const running = cluster({ onConflict: "fail" });
  const manager = running.start();
  const client = testClient();
  await client.visit(manager, (attributes) => {
    attributes.n = 1;
  });
  const exchange = await client.open(manager);
  exchange.session!.attributes.n = 10;
  await testClient(client.cookie).visit(manager, (attributes) => {
    attributes.n = 2;
  });
  exchange.session!.save().catch(() => {});
  const { result } = await client.finish(exchange);
  await running.close();
  expect(result.outcome).toBe("failed");
});
