import { cluster, pause, testClient, waitUntil } from "@msm/conformance";
import { memoryStorage } from "@msm/core";
import { afterEach, expect, it } from "vitest";

const clusters: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(clusters.splice(0).map((each) => each.close()));
});

it("sticky, fail: a change that gave way to another process' is not acknowledged, though it was folded after the save began that met it", async () => {
  let gate: Promise<void> | undefined;
  let saves = 0;
  const nodes = cluster({
    ...{ mode: "sticky", onConflict: "fail" },
    createStorage: (clock) => {
      const storage = memoryStorage({ clock });
      const save = storage.save.bind(storage);
      storage.save = async (...args) => {
        saves += 1;
        await gate;
        return save(...args);
      };
      return storage;
    },
  });
  clusters.push(nodes);
  const [app1, app2] = [nodes.start("app1"), nodes.start("app2")];
  const client = testClient();
  await client.visit(app1, (attributes) => {
    attributes.count = 0;
  });
  const flipped = testClient(client.cookie);
  await flipped.visit(app2, (attributes) => {
    attributes.count = 100;
  });

  const stale = testClient(client.cookie);
  const [first, second] = [await stale.open(app1), await stale.open(app1)];
  let open = () => {};
  gate = new Promise((resolve) => {
    open = resolve;
  });
  saves = 0;
  first.session!.attributes.count += 1;
  const firstResult = first.commit();
  await waitUntil("the first save is under way", () => saves > 0);
  second.session!.attributes.count += 1;
  const secondResult = second.commit();
  await pause(20);
  open();
  gate = undefined;
  const results = [await firstResult, await secondResult];
  await Promise.all([first.end(), second.end()]);

  const acknowledged = results.filter(({ outcome }) => outcome === "stored").length;
  const after = testClient(client.cookie);
  let count: unknown;
  await after.visit(app1, (attributes) => {
    count = attributes.count;
  });
  expect(count).toBe(100 + acknowledged);
});

it("sticky, fail: of a request that was refused nothing is stored", async () => {
  const nodes = cluster({ mode: "sticky", onConflict: "fail" });
  clusters.push(nodes);
  const [app1, app2] = [nodes.start("app1"), nodes.start("app2")];
  const client = testClient();
  await client.visit(app1, (attributes) => {
    attributes.count = 0;
  });
  const stale = testClient(client.cookie);
  const flipped = testClient(client.cookie);
  await flipped.visit(app2, (attributes) => {
    attributes.count = 100;
  });

  const { result } = await stale.visit(app1, (attributes) => {
    attributes.count += 1;
    attributes.own = true;
  });
  expect(result.outcome).toBe("failed");
  const later = await stale.visit(app1, (attributes) => {
    attributes.other = true;
  });
  expect(later.result.outcome).toBe("stored");
  const fresh = nodes.start("app3");
  let seen: unknown;
  await testClient(client.cookie).visit(fresh, (attributes) => {
    seen = attributes.own;
  });
  expect(seen).toBeUndefined();
});
