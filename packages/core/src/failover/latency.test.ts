import { describe, expect, it } from "vitest";
import { Latency } from "./latency.js";

function noted(...slow: readonly boolean[]): Latency {
  const latency = new Latency();
  for (const isSlow of slow) latency.note(isSlow);
  return latency;
}

const times = (count: number, isSlow: boolean) => Array.from({ length: count }, () => isSlow);

describe("the latency of a node", () => {
  it("is too high where most of the last 20 operations took too long", () => {
    expect(noted(...times(9, false), ...times(11, true)).isSlow).toBe(true);
    expect(noted(...times(10, false), ...times(10, true)).isSlow).toBe(false);
  });

  it("is not judged by fewer than 20 operations", () => {
    expect(noted(...times(19, true)).isSlow).toBe(false);
  });

  it("forgets what is longer ago than 20 operations", () => {
    expect(noted(...times(20, true), ...times(10, false)).isSlow).toBe(false);
    expect(noted(...times(40, false), ...times(11, true)).isSlow).toBe(true);
  });

  it("is judged anew once it was forgotten", () => {
    const latency = noted(...times(20, true));
    latency.forget();
    expect(latency.isSlow).toBe(false);
  });
});
