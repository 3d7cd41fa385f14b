import { randomInt } from "node:crypto";
import { describe, expect, it } from "vitest";
import { SmallMap } from "./small-map.js";

describe("a small map", () => {
  it.each([3, 8, 9, 40])("does what a map does, with %i keys", (keys) => {
    const small = new SmallMap<string, number>();
    const map = new Map<string, number>();

    for (let step = 0; step < 2000; step++) {
      const key = `key ${randomInt(0, keys)}`;
      if (randomInt(0, 3) === 0) expect(small.delete(key)).toBe(map.delete(key));
      else {
        small.set(key, step);
        map.set(key, step);
      }
      const other = `key ${randomInt(0, keys)}`;
      expect([small.get(other), small.has(other), small.size]).toEqual([
        map.get(other),
        map.has(other),
        map.size,
      ]);
      expect([...small]).toEqual([...map]);
    }

    expect([[...small.keys()], [...small.values()]]).toEqual([[...map.keys()], [...map.values()]]);
    const seen: [string, number][] = [];
    small.forEach((value, key) => void seen.push([key, value]));
    expect(seen).toEqual([...map]);
  });

  it("shows what is left of it to who deletes while going through it", () => {
    const small = new SmallMap<number, string>();
    for (let key = 0; key < 6; key++) small.set(key, "");
    const seen: number[] = [];

    for (const key of small.keys()) {
      seen.push(key);
      if (key === 0) small.delete(0);
      if (key === 1) for (const other of [1, 2, 3]) small.delete(other);
    }

    expect(seen).toEqual([0, 1, 4, 5]);
    expect([...small.keys()]).toEqual([4, 5]);
  });
});
