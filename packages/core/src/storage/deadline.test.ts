import { describe, expect, it } from "vitest";
import type { MsmError } from "../errors.js";
import { withDeadline } from "./deadline.js";

const never = () => new Promise<never>(() => {});

describe("a deadline", () => {
  it("gives what comes in time, and ends nothing", async () => {
    const ended: MsmError[] = [];

    expect(
      await withDeadline(
        "it",
        1000,
        async () => "done",
        (error) => ended.push(error),
      ),
    ).toBe("done");
    await expect(
      withDeadline(
        "it",
        1000,
        async () => Promise.reject(new Error("trouble")),
        (error) => ended.push(error),
      ),
    ).rejects.toThrow("trouble");

    expect(ended).toEqual([]);
  });

  it("rejects what comes too late, and ends it with the same error", async () => {
    const ended: MsmError[] = [];

    const late = withDeadline("redis load", 5, never, (error) => ended.push(error));

    await expect(late).rejects.toMatchObject({
      code: "MSM_ERR_STORAGE_TIMEOUT",
      message: "MSM_ERR_STORAGE_TIMEOUT: redis load took longer than 5 ms",
    });
    await late.catch((error) => expect(ended).toEqual([error]));
  });

  it("lets what arrived during a pause of the process be read before it judges", async () => {
    const { port1, port2 } = new MessageChannel();
    const arrived = () => new Promise((resolve) => port1.once("message", resolve));

    const inTime = withDeadline("it", 20, arrived, () => {});
    port2.postMessage("here");
    const untilMs = performance.now() + 60;
    while (performance.now() < untilMs);

    await expect(inTime).resolves.toBe("here");
    port1.close();
  });

  it("gives the time anew to what has more to do when the process goes on", async () => {
    const { port1, port2 } = new MessageChannel();
    const answered = () => new Promise((resolve) => port1.once("message", resolve));
    const twoTrips = async () => {
      await answered();
      setTimeout(() => port2.postMessage("second"), 10);
      return answered();
    };

    const inTime = withDeadline("it", 50, twoTrips, () => {});
    port2.postMessage("first");
    const untilMs = performance.now() + 300;
    while (performance.now() < untilMs);

    await expect(inTime).resolves.toBe("second");
    port1.close();
  });

  it("ends what does not come after the process went on either", async () => {
    const late = withDeadline("it", 20, never, () => {});
    const untilMs = performance.now() + 200;
    while (performance.now() < untilMs);

    await expect(late).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_TIMEOUT" });
  });
});
