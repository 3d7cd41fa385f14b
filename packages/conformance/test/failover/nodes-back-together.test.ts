import { createSessionManager, memoryStorage, type Storage } from "@msm/core";
import { expect, it, onTestFinished } from "vitest";
import { faulty, type TestClock, testClock } from "../../src/index.js";

/** A node whose probes take so long that each node is probed at another moment. */
function probedAfter(delayMs: number, clock: TestClock, storage: Storage): Storage {
  const members = ["load", "save", "putIfNewer", "touch", "renewLease", "unlock", "close"] as const;
  const bound = members.map((member) => [member, storage[member].bind(storage)]);
  return {
    ...(Object.fromEntries(bound) as Pick<Storage, (typeof members)[number]>),
    kind: storage.kind,
    async ping() {
      await new Promise<void>((resolve) => void clock.after(delayMs, resolve));
      return storage.ping();
    },
  };
}

it("a process that reached no node goes on with all that are back, not with the one that it probes first", async () => {
  const clock = testClock();
  const nodes = [0, 70, 140].map((delayMs) => ({ delayMs, storage: faulty(memoryStorage({ clock })) }));
  const manager = createSessionManager({
    secret: "the secret of a process without nodes",
    clock,
    nodes: nodes.map(({ delayMs, storage }) => ({ storage: probedAfter(delayMs, clock, storage) })),
  });
  onTestFinished(async () => {
    const closed = manager.close();
    await clock.turn(60_000);
    await closed;
  });
  const down = () => manager.health().nodes.filter(({ state }) => state === "down").length;
  const downAtNodeUp: number[] = [];
  manager.on("nodeUp", () => downAtNodeUp.push(down()));
  await clock.turn(3000);
  for (const { storage } of nodes) storage.goDown();
  await clock.turn(5000);
  const downAtWorst = down();

  for (const { storage } of nodes) storage.comeBack();
  await clock.turn(5000);

  expect(downAtWorst).toBe(3);
  expect(downAtNodeUp).toEqual([0, 0, 0]);
});
