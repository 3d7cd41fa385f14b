import { describe, expect, it } from "vitest";
import { MsmError } from "../errors.js";
import { createEvents } from "../events.js";
import { memoryStorage } from "../storage/memory.js";
import { RingNode } from "./ring-node.js";
import { turnableClock } from "./turnable-clock.js";

function watched(neighbour: { reachable?: boolean; isFast?: boolean } = {}) {
  const { clock, turn } = turnableClock();
  const events = createEvents();
  const told: string[] = [];
  for (const event of ["nodeDown", "nodeUp", "nodeReconnected"] as const)
    events.on(event, () => told.push(event));
  const storage = memoryStorage({ clock });
  let trouble: MsmError | undefined;
  let pings = 0;
  let run = 1;
  let delayMs = 0;
  const delay = async () => {
    if (delayMs > 0) await new Promise<void>((resolve) => void clock.after(delayMs, resolve));
  };
  let answeredBy: number | undefined;
  Object.defineProperty(storage, "run", { get: () => answeredBy });
  storage.ping = async () => {
    pings++;
    await delay();
    if (trouble !== undefined) throw trouble;
    return run;
  };
  const node = new RingNode(
    { id: "n1", storage, failoverOnly: false },
    { clock, events, recordLife: { longestMs: 60_000 }, limits: { operationTimeoutMs: 250 } },
    () => [
      {
        reachable: neighbour.reachable ?? true,
        answersInTime: async () => neighbour.isFast ?? true,
        findBack: async () => undefined,
      },
    ],
  );
  const fail = (
    code: "MSM_ERR_STORAGE_TIMEOUT" | "MSM_ERR_STORAGE_UNAVAILABLE" | "MSM_ERR_STORAGE_REFUSED",
  ) => node.run(() => Promise.reject(new MsmError(code, "told to"))).catch(() => undefined);
  const operate = async (count: number) => {
    const operations = Promise.all(Array.from({ length: count }, () => node.run(delay)));
    await turn(1000);
    await operations;
  };
  return {
    node,
    turn,
    /** Runs operations at the same time, to their end. */
    operate,
    answerIn: (ms: number) => {
      delayMs = ms;
    },
    told,
    fail,
    breakIt: () => {
      trouble = new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "down");
    },
    restart: () => {
      run++;
    },
    /** An operation; its answer tells of the node's run. */
    answer: () =>
      node.run(async () => {
        answeredBy = run;
      }),
    mend: () => {
      trouble = undefined;
    },
    takePings: () => {
      const taken = pings;
      pings = 0;
      return taken;
    },
  };
}

describe("a node of the ring", () => {
  it("is down after two failures in a row, not after one", async () => {
    const { node, fail, told } = watched();

    await fail("MSM_ERR_STORAGE_TIMEOUT");
    expect(node.reachable).toBe(true);
    await node.run(async () => "fine");
    await fail("MSM_ERR_STORAGE_TIMEOUT");
    expect(node.reachable).toBe(true);
    await fail("MSM_ERR_STORAGE_TIMEOUT");

    expect(node.reachable).toBe(false);
    expect(told).toEqual(["nodeDown"]);
  });

  it("is asked at once where it could not be reached, and down where it does not answer", async () => {
    const { node, fail, breakIt, turn } = watched();
    await turn(0);
    breakIt();

    await fail("MSM_ERR_STORAGE_UNAVAILABLE");
    await turn(0);

    expect(node.reachable).toBe(false);
  });

  it("is not down because it refuses writes", async () => {
    const { node, fail } = watched();

    for (let i = 0; i < 5; i++) await fail("MSM_ERR_STORAGE_REFUSED");

    expect(node.reachable).toBe(true);
  });

  it("is found to be down by probes while nobody uses it", async () => {
    const { node, breakIt, turn } = watched();
    breakIt();

    await turn(2000);

    expect(node.health).toMatchObject({ state: "down" });
  });

  it("that may have restarted is suspect, though it was never missed", async () => {
    const { node, turn, told, restart } = watched();
    await turn(1000);
    restart();
    await turn(1000);

    expect(node.health.state).toBe("suspect");
    expect(told).toEqual(["nodeReconnected"]);
  });

  it("that answers as another run is suspect with that answer, and its probe tells nobody again", async () => {
    const { node, turn, told, restart, answer } = watched();
    await turn(1000);
    await answer();
    restart();

    await answer();

    expect(node.health.state).toBe("suspect");
    expect(told).toEqual(["nodeReconnected"]);
    node.confirm("a");
    await turn(1000);
    expect(node.isSuspect("a")).toBe(false);
    expect(told).toEqual(["nodeReconnected"]);
  });

  it("that was down is suspect once for the run that it is back with", async () => {
    const { node, breakIt, mend, restart, turn, told, answer } = watched();
    await answer();
    breakIt();
    await turn(2000);
    restart();
    mend();
    await turn(2000);
    node.confirm("a");

    await answer();

    expect(node.isSuspect("a")).toBe(false);
    expect(told).toEqual(["nodeDown", "nodeUp"]);
  });

  it("is suspect when it is back, until what was on it has expired, but for keys that were compared", async () => {
    const { node, breakIt, mend, turn } = watched();
    breakIt();
    await turn(2000);
    mend();
    await turn(2000);

    expect(node.health.state).toBe("suspect");
    expect(node.isSuspect("a")).toBe(true);
    node.confirm("a");
    expect(node.isSuspect("a")).toBe(false);
    expect(node.isSuspect("b")).toBe(true);

    await turn(60_000);
    expect(node.health.state).toBe("up");
    expect(node.isSuspect("b")).toBe(false);
  });

  it("that goes up and down is held down for longer each time, up to 30 seconds", async () => {
    const { node, breakIt, mend, turn, told } = watched();
    const heldMs: number[] = [];

    for (let round = 0; round < 7; round++) {
      breakIt();
      while (node.reachable) await turn(100);
      mend();
      let ms = 0;
      for (; !node.reachable; ms += 100) await turn(100);
      heldMs.push(Math.round(ms / 1000));
    }

    expect(heldMs).toEqual([1, 2, 4, 8, 16, 30, 30]);
    expect(told.length).toBe(14);
  });

  it("is not held down where there is no other", async () => {
    const { node, breakIt, mend, turn } = watched({ reachable: false });
    for (let round = 0; round < 4; round++) {
      breakIt();
      while (node.reachable) await turn(100);
      mend();
      await turn(600);
      expect(node.reachable).toBe(true);
    }
  });

  it("is down where it is slow for most of 20 operations, and another is faster", async () => {
    const { node, operate, answerIn, told } = watched();
    answerIn(126);

    await operate(10);
    expect(node.reachable).toBe(true);
    await operate(10);

    expect(node.health).toMatchObject({ state: "down", lastError: "MSM_ERR_STORAGE_TIMEOUT" });
    expect(told).toEqual(["nodeDown"]);
  });

  it("is not down for answers that take half of the operation timeout or less", async () => {
    const { node, operate, answerIn } = watched();
    answerIn(125);

    await operate(40);

    expect(node.reachable).toBe(true);
  });

  it("is not down where all are slow, or none other can be reached: the process may be busy itself", async () => {
    for (const neighbour of [{ isFast: false }, { reachable: false }]) {
      const { node, operate, answerIn } = watched(neighbour);
      answerIn(200);

      await operate(40);

      expect(node.reachable).toBe(true);
    }
  });

  it("is not down where it was slow for a moment only", async () => {
    const { node, operate, answerIn, turn } = watched();
    answerIn(200);
    const operations = Promise.all(Array.from({ length: 20 }, () => operate(1)));
    answerIn(0); // asked again, it answers at once
    await turn(2000);
    await operations;

    expect(node.reachable).toBe(true);
  });

  it("that was slow is up when it has been fast for 5 seconds", async () => {
    const { node, operate, answerIn, turn } = watched();
    answerIn(200);
    await operate(20);
    await turn(20_000);
    expect(node.reachable).toBe(false);

    answerIn(0);
    await turn(4000);
    expect(node.reachable).toBe(false);
    await turn(2000);
    expect(node.reachable).toBe(true);
  });

  it("may hold nothing any more when it was down for longer than any record lives", async () => {
    const { node, breakIt, turn } = watched();
    breakIt();
    await turn(30_000);
    expect(node.mayHoldRecords).toBe(true);

    await turn(60_000);
    expect(node.mayHoldRecords).toBe(false);
  });

  it("is neither probed nor judged once it is closed", async () => {
    const { node, breakIt, turn, takePings, told, fail } = watched();
    await turn(0);
    await node.close();
    takePings();
    breakIt();

    await fail("MSM_ERR_STORAGE_UNAVAILABLE");
    await fail("MSM_ERR_STORAGE_UNAVAILABLE");
    await turn(5000);

    expect(takePings()).toBe(0);
    expect(told).toEqual([]);
  });
});
