import { describe, expect, it } from "vitest";
import { systemClock } from "../clock.js";
import { LockQueue, type Turn } from "./lock-queue.js";
import { type Waiting, waitingFor } from "./waiting.js";

const long = (): Waiting => waitingFor(60_000, systemClock);

function begin(limits = { waitersPerSession: 32, waitersPerProcess: 1000 }) {
  return new LockQueue<string>(systemClock, limits);
}

describe("the lock queue", () => {
  it("lets one in at a time, in their order, and tells each what the one before left", async () => {
    const queue = begin();
    const order: string[] = [];
    const enter = async (name: string) => {
      const turn = await queue.enter("s", long());
      order.push(`${name} after ${turn.inherited}`);
      await Promise.resolve();
      turn.pass(name);
    };

    await Promise.all(["a", "b", "c"].map(enter));

    expect(order).toEqual(["a after undefined", "b after a", "c after b"]);
  });

  it("keeps sessions apart, and remembers none that nobody is in", async () => {
    const queue = begin();
    const one = await queue.enter("s", long());
    const other = await queue.enter("t", long());
    one.pass("left");
    other.pass();

    expect((await queue.enter("s", long())).inherited).toBeUndefined();
  });

  it("says whether somebody waits", async () => {
    const queue = begin();
    const turn = await queue.enter("s", long());
    expect([turn.hasWaiters, queue.waiting]).toEqual([false, 0]);
    const next = queue.enter("s", long());
    expect([turn.hasWaiters, queue.waiting]).toEqual([true, 1]);

    turn.pass();
    expect([turn.hasWaiters, queue.waiting]).toEqual([false, 0]);
    (await next).pass();
  });

  it("passes a turn once only", async () => {
    const queue = begin();
    const turn = await queue.enter("s", long());
    const second = queue.enter("s", long());
    let third: Turn<string> | undefined;
    void Promise.resolve(queue.enter("s", long())).then((entered) => {
      third = entered;
    });

    turn.pass();
    turn.pass();
    await second;

    expect(third).toBeUndefined();
  });

  it("refuses one more than it takes, of a session and in all", async () => {
    const queue = begin({ waitersPerSession: 2, waitersPerProcess: 3 });
    for (const session of ["s", "s", "s", "t", "t"]) void queue.enter(session, long());

    await expect(queue.enter("s", long())).rejects.toMatchObject({
      code: "MSM_ERR_LOCK_QUEUE_FULL",
      message: expect.stringContaining("2 requests wait for the session"),
    });
    await expect(queue.enter("t", long())).rejects.toMatchObject({
      code: "MSM_ERR_LOCK_QUEUE_FULL",
      message: expect.stringContaining("3 requests of this process wait"),
    });
    expect(await queue.enter("u", long())).toBeDefined();
  });

  it("lets who has waited long enough go, and the others move up", async () => {
    const queue = begin();
    const turn = await queue.enter("s", long());
    const impatient = queue.enter("s", waitingFor(1, systemClock));
    const patient = queue.enter("s", long());

    await expect(impatient).rejects.toMatchObject({ code: "MSM_ERR_LOCK_TIMEOUT" });
    expect(queue.waiting).toBe(1);
    turn.pass();
    await expect(patient).resolves.toBeDefined();
  });

  it("lets who has nobody to answer go", async () => {
    const queue = begin();
    await queue.enter("s", long());
    let leave = () => {};
    const left = queue.enter("s", {
      ...long(),
      onClose: (listener) => {
        leave = listener;
        return () => {};
      },
    });

    leave();

    await expect(left).rejects.toMatchObject({ code: "MSM_ERR_ABORTED" });
    expect(queue.waiting).toBe(0);
  });
});
