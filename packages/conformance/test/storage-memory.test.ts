import { faulty, freshKey, freshToken, storageContract, testRecord } from "@msm/conformance";
import { memoryStorage } from "@msm/core";
import { expect, it } from "vitest";

storageContract(
  "memory",
  async () => {
    const storage = memoryStorage();
    return { storage, other: storage, close: () => storage.close() };
  },
  { onRelease: true },
);

storageContract(
  "memory, wrapped in order to fail on command",
  async () => {
    const storage = faulty(memoryStorage());
    return { storage, other: storage, close: () => storage.close() };
  },
  { onRelease: true, timesToLive: false },
);

it("a node that is down tells nobody of a release", async () => {
  const inner = memoryStorage();
  const node = faulty(inner);
  const key = freshKey();
  await inner.save(key, testRecord(), 60_000, { expect: "absent" });
  const lease = () => ({ token: freshToken(), ttlMs: 60_000 });
  const release = async () => {
    const mine = lease();
    await inner.load(key, { lease: mine });
    await inner.load(key, { lease: lease() });
    await inner.unlock(key, mine.token);
  };
  let heard = 0;
  const isHeard = new Promise<void>((resolve) => {
    node.onRelease?.(key, () => {
      heard += 1;
      resolve();
    });
  });

  node.goDown();
  await release();
  await Promise.resolve();
  node.comeBack();
  await release();

  await isHeard;
  expect(heard).toBe(1);
});
