import { randomInt } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Due, DueList } from "./due-list.js";

describe("a list of what is due", () => {
  it("gives what is due first, whatever was taken out, and lets it be put in again", () => {
    const list = new DueList<Due>();
    const expected: Due[] = [];

    for (let step = 0; step < 2000; step++) {
      const isPutIn = expected.length === 0 || randomInt(0, 2) === 0;
      if (isPutIn) {
        const due = new Due();
        list.append(due, step);
        expected.push(due);
      } else {
        const [due] = expected.splice(randomInt(0, expected.length), 1);
        list.remove(due!);
        list.remove(due!);
        if (randomInt(0, 3) === 0) {
          list.append(due!, step);
          expected.push(due!);
        }
      }
      expect(list.first).toBe(expected[0]);
    }

    for (const due of expected) {
      expect(list.first).toBe(due);
      list.remove(due);
    }
    expect(list.first).toBeUndefined();
  });
});
