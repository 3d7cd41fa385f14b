import { describe, expect, it } from "vitest";
import { createEvents } from "../events.js";
import { memoryStorage } from "../storage/memory.js";
import { MissedRecords } from "./missed-records.js";
import { Ring } from "./ring.js";
import { RingNode } from "./ring-node.js";
import { turnableClock } from "./turnable-clock.js";

/** A node that is up when the test says so. */
class SwitchedNode extends RingNode {
  isUp = false;

  override get reachable(): boolean {
    return this.isUp;
  }

  override get takesRecords(): boolean {
    return this.isUp;
  }
}

/** A ring of one node, which is not watched by it. */
class RingOf extends Ring {
  only: RingNode | undefined;

  override node(): RingNode | undefined {
    return this.only;
  }
}

function begin() {
  const { clock, turn } = turnableClock();
  const events = createEvents();
  const parts = { clock, events, recordLife: { longestMs: 60_000 }, limits: { operationTimeoutMs: 250 } };
  const storage = memoryStorage({ clock });
  const node = new SwitchedNode({ id: "n1", storage, failoverOnly: false }, parts, () => []);
  const ring = new RingOf([], parts);
  ring.only = node;
  return { events, node, storage, missed: new MissedRecords(ring, events, clock, () => {}), turn };
}

const record = Buffer.from(`M1${"0".repeat(15)}1${"a".repeat(16)}${"0".repeat(12)}`);

describe("a record that a node has missed", () => {
  it("is delivered though the node comes up at the very moment at which it is kept", async () => {
    const { events, node, storage, missed, turn } = begin();

    missed.keep(node, "msm:{key}", record, 60_000);
    node.isUp = true;
    events.emit("nodeUp", { node: "n1", downMs: 1 });
    await turn(0);

    expect((await storage.load("msm:{key}")).kind).toBe("found");
    missed.close();
    await node.close();
  });

  it("is delivered to a node that is held down yet, once that answers probes", async () => {
    const { clock, turn } = turnableClock();
    const events = createEvents();
    const parts = { clock, events, recordLife: { longestMs: 600_000 }, limits: { operationTimeoutMs: 250 } };
    const storage = memoryStorage({ clock });
    const { ping } = storage;
    const others = () => [
      { reachable: true, answersInTime: async () => true, findBack: async () => undefined },
    ];
    const node = new RingNode({ id: "n1", storage, failoverOnly: false }, parts, others);
    const ring = new RingOf([], parts);
    ring.only = node;
    const missed = new MissedRecords(ring, events, clock, () => {});
    for (let round = 0; round < 4; round++) {
      storage.ping = () => Promise.reject(new Error("away"));
      while (node.reachable) await turn(100);
      if (round === 3) break; // held down for 8 s by now
      storage.ping = ping.bind(storage);
      while (!node.reachable) await turn(100);
    }
    missed.keep(node, "msm:{key}", record, 60_000);
    await turn(100);
    expect((await storage.load("msm:{key}")).kind).toBe("absent");

    storage.ping = ping.bind(storage);
    await turn(2000);

    expect(node.reachable).toBe(false);
    expect((await storage.load("msm:{key}")).kind).toBe("found");
    missed.close();
    await node.close();
  });
});
