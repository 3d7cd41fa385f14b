import { describe, expect, it } from "vitest";
import { UnusualTimes } from "./unusual-times.js";

/** What becomes of so many records in a row, of which every nth is unusual. */
function noted(count: number, every: number, times = new UnusualTimes()): UnusualTimes {
  for (let at = 1; at <= count; at++) times.note(at % every === 0);
  return times;
}

describe("unusual times to live", () => {
  it.each([
    { every: 1, areMany: true },
    { every: 3, areMany: true },
    { every: 10, areMany: false },
  ])("are many where they are more than every fifth: every $every", ({ every, areMany }) => {
    expect(noted(1000, every).areMany).toBe(areMany);
  });

  it("are not many for being a few in a row, nor for having been many", () => {
    expect(noted(4, 1).areMany).toBe(false);
    expect(noted(5, 1).areMany).toBe(true);
    expect(noted(20, Number.POSITIVE_INFINITY, noted(1000, 1)).areMany).toBe(false);
  });
});
