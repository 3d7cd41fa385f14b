import { randomInt } from "node:crypto";
import { describe, expect, it } from "vitest";
import { BriefMap } from "./brief-map.js";

describe("a map for what comes and goes", () => {
  it("has what was put in and not deleted, whatever the keys are", () => {
    const map = new BriefMap<number>();
    const expected = new Map<string, number>();
    // Some without a second character, or any; many that fall together.
    const keys = ["", "a", ...Array.from({ length: 300 }, (_, at) => `k${at % 3}${at}`)];

    for (let step = 0; step < 5000; step++) {
      const key = keys[randomInt(0, keys.length)]!;
      if (expected.has(key)) {
        map.delete(key);
        map.delete(key);
        expected.delete(key);
      } else {
        map.add(key, step);
        expected.set(key, step);
      }
      const other = keys[randomInt(0, keys.length)]!;
      expect(map.get(key)).toBe(expected.get(key));
      expect(map.get(other)).toBe(expected.get(other));
    }
  });
});
