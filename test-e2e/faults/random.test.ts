import { expect, it } from "vitest";
import { seededRandom } from "./random.js";

const sequence = (seed: string) => {
  const random = seededRandom(seed);
  return Array.from({ length: 100 }, () => random.next());
};

it("the same seed makes the same choices", () => {
  expect(sequence("7")).toEqual(sequence("7"));
  expect(sequence("7")).not.toEqual(sequence("8"));
});

it("a fork follows from the seed and its name alone", () => {
  const random = seededRandom("7");
  const fork = random.fork("load").next();
  random.next();

  expect(random.fork("load").next()).toBe(fork);
  expect(random.fork("faults").next()).not.toBe(fork);
});

it("whole numbers lie within their bounds, both included", () => {
  const random = seededRandom("7");
  const drawn = new Set(Array.from({ length: 1000 }, () => random.between(3, 6)));

  expect([...drawn].sort()).toEqual([3, 4, 5, 6]);
});
