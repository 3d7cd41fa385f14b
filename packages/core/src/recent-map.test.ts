import { expect, it } from "vitest";
import { RecentMap } from "./recent-map.js";

it("a recent map keeps what was used last, and at most twice its size", () => {
  const map = new RecentMap<number, string>(10);
  map.set(0, "used again and again");

  for (let key = 1; key <= 1000; key++) {
    map.set(key, `value ${key}`);
    map.get(0);
  }

  const kept = Array.from({ length: 1001 }, (_, key) => key).filter((key) => map.get(key) !== undefined);
  expect(kept).toContain(0);
  expect(kept).toContain(1000);
  expect(kept.length).toBeLessThanOrEqual(20);
  expect(map.get(500)).toBeUndefined();
});
