import { type Clock, createSessionManager, memoryStorage, type Storage } from "@msm/core";
import { expect, it, onTestFinished } from "vitest";
import { testClient, testClock } from "../../src/index.js";

/** A node that can lose all it has, and be given a record just before it is asked to take one as its first. */
function restartable(clock: Clock) {
  let storage = memoryStorage({ clock });
  const saved: { key: string; record: Uint8Array }[] = [];
  let repairWith: { key: string; record: Uint8Array } | undefined;
  const node: Storage = {
    kind: storage.kind,
    load: (...args) => storage.load(...args),
    async save(key, record, ttlMs, options) {
      if (options.expect === "absent" && repairWith !== undefined) {
        await storage.putIfNewer(repairWith.key, repairWith.record, ttlMs);
      }
      saved.push({ key, record: record.slice() });
      return storage.save(key, record, ttlMs, options);
    },
    putIfNewer: (...args) => storage.putIfNewer(...args),
    touch: (...args) => storage.touch(...args),
    renewLease: (...args) => storage.renewLease(...args),
    unlock: (...args) => storage.unlock(...args),
    ping: async () => "always the same run, so that nobody notices",
    close: () => storage.close(),
  };
  return {
    node,
    /** The first record that was saved here is what another request finds on another node, and puts here meanwhile. */
    restartAndBeRepaired() {
      storage = memoryStorage({ clock });
      [repairWith] = saved;
    },
  };
}

it("sticky: a save is in no conflict with an older record that another request puts on its empty node meanwhile", async () => {
  const clock = testClock();
  const only = restartable(clock);
  const manager = createSessionManager({
    ...{ mode: "sticky", route: "app1", secret: "the secret of a process with one node", clock },
    ...{ onConflict: "fail", nodes: [{ storage: only.node }] },
  });
  onTestFinished(async () => {
    const closed = manager.close();
    await clock.turn(60_000);
    await closed;
  });
  const client = testClient();
  const count = () =>
    client.visit(manager, (attributes) => {
      attributes.count = Number(attributes.count ?? 0) + 1;
    });
  await count();
  await count();

  only.restartAndBeRepaired();
  const { result } = await count();

  expect(result.outcome).toBe("stored");
  const { session } = await client.visit(manager);
  expect(session?.attributes.count).toBe(3);
});
