import { describe, expect, it } from "vitest";
import { turnableClock } from "../failover/turnable-clock.js";
import { WaitLimits } from "./wait-limits.js";

const refusal = (limitMs: number) => new Error(`longer than ${limitMs}`);
const never = new Promise<never>(() => {});

describe("a limit for those who wait", () => {
  it("gives what comes in time, and rejects as that does", async () => {
    const limits = new WaitLimits(turnableClock().clock, refusal);

    await expect(limits.within(100, Promise.resolve("done"))).resolves.toBe("done");
    await expect(limits.within(100, Promise.reject(new Error("trouble")))).rejects.toThrow("trouble");
  });

  it("refuses each when its own time is over, also where the limit was changed meanwhile", async () => {
    const { clock, turn } = turnableClock();
    const limits = new WaitLimits(clock, refusal);
    const refused: string[] = [];
    const wait = (name: string, limitMs: number) =>
      limits.within(limitMs, never).catch((error: Error) => refused.push(`${name} ${error.message}`));

    void wait("first", 100);
    await turn(60);
    void wait("second", 100);
    void wait("short", 10);
    for (const [turnMs, expected] of [
      [9, []],
      [1, ["short longer than 10"]],
      [29, ["short longer than 10"]],
      [1, ["short longer than 10", "first longer than 100"]],
      [60, ["short longer than 10", "first longer than 100", "second longer than 100"]],
    ] as const) {
      await turn(turnMs);
      expect(refused).toEqual(expected);
    }
  });

  it("goes on when nobody has waited for a while", async () => {
    const { clock, turn } = turnableClock();
    const limits = new WaitLimits(clock, refusal);
    await limits.within(100, Promise.resolve());
    await turn(1000);

    const late = expect(limits.within(100, never)).rejects.toThrow("longer than 100");
    await turn(100);

    await late;
  });
});
