import { memoryStorage, type Storage } from "@msm/core";
import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";
import { boundedSaves } from "./bounded-saves.js";

/** A storage whose next save waits until it is let go. */
function gated() {
  let gate: Promise<void> | undefined;
  let reached: (() => void) | undefined;
  return {
    wrap: (inner: Storage): Storage => ({
      kind: inner.kind,
      load: (...args) => inner.load(...args),
      async save(...args) {
        const held = gate;
        gate = undefined;
        if (held !== undefined) {
          reached?.();
          await held;
        }
        return inner.save(...args);
      },
      putIfNewer: (...args) => inner.putIfNewer(...args),
      touch: (...args) => inner.touch(...args),
      renewLease: (...args) => inner.renewLease(...args),
      unlock: (...args) => inner.unlock(...args),
      ping: () => inner.ping(),
      close: () => inner.close(),
    }),
    hold() {
      let letGo = () => {};
      gate = new Promise((resolve) => {
        letGo = resolve;
      });
      const isReached = new Promise<void>((resolve) => {
        reached = resolve;
      });
      return { isReached, letGo };
    },
  };
}

const begin = async () => {
  const gate = gated();
  const count = { saves: 0 };
  const running = cluster({
    mode: "sticky",
    maxLocalSessions: 1,
    nodeIds: ["n1"],
    createStorage: (clock) => boundedSaves(gate.wrap(memoryStorage({ clock })), 100, count),
  } as ClusterOptions);
  const client = testClient();
  await client.visit(running.start("app1"), (attributes) => {
    attributes.n = 1;
  });
  const other = running.start("app2");
  // The first request takes the session over; meanwhile another visitor's session pushes it out of memory.
  const held = gate.hold();
  const opening = testClient(client.cookie).open(other);
  await held.isReached;
  await testClient().visit(other, (attributes) => {
    attributes.x = 1;
  });
  held.letGo();
  const first = await opening;
  const second = await testClient(client.cookie).open(other);
  return { running, client, other, first, second, count };
};

it("sticky: two requests of one session share it also when it was evicted while it was taken over", async () => {
  const { running, client, first, second } = await begin();
  second.session!.attributes.b = 1;
  expect((await second.commit()).outcome).toBe("stored");
  first.session!.attributes.a = 1;
  const { outcome } = await first.commit();
  await Promise.all([first.end(), second.end()]);

  const { session } = await testClient(client.cookie).visit(running.start("app3"));
  const attributes = { ...session?.attributes };
  await running.close();
  expect({ outcome, attributes }).toEqual({ outcome: "stored", attributes: { n: 1, a: 1, b: 1 } });
});

it("sticky: a commit ends also when its session was evicted while it was taken over", async () => {
  const { first, count } = await begin();
  first.session!.attributes.a = 1;
  const before = count.saves;
  let settled = false;
  void Promise.resolve(first.commit()).then(() => {
    settled = true;
  });
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  expect({ settled, saves: count.saves - before }).toEqual({ settled: true, saves: 1 });
});
