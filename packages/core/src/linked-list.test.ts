import { randomInt } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Linked, LinkedList } from "./linked-list.js";

class Item extends Linked {
  readonly name: string;

  constructor(name: string) {
    super();
    this.name = name;
  }
}

describe("a linked list", () => {
  it("has what was put in and not taken out, in its order, and lets it be put in again", () => {
    const list = new LinkedList<Item>();
    const expected: Item[] = [];

    for (let step = 0; step < 2000; step++) {
      const isPutIn = expected.length === 0 || randomInt(0, 2) === 0;
      if (isPutIn) {
        const item = new Item(`${step}`);
        list.append(item);
        expected.push(item);
      } else {
        const [item] = expected.splice(randomInt(0, expected.length), 1);
        list.remove(item!);
        list.remove(item!);
        if (randomInt(0, 3) === 0) {
          list.append(item!);
          expected.push(item!);
        }
      }
      expect(list.first).toBe(expected[0]);
      if (step % 50 === 0) expect([...list]).toEqual(expected);
    }

    for (const item of expected) {
      expect(list.first).toBe(item);
      list.remove(item);
    }
    expect(list.first).toBeUndefined();
    expect([...list]).toEqual([]);
  });

  it("lets what is looked at be taken out", () => {
    const list = new LinkedList<Item>();
    for (const name of ["a", "b", "c", "d"]) list.append(new Item(name));

    for (const item of list) if (item.name !== "c") list.remove(item);

    expect([...list].map(({ name }) => name)).toEqual(["c"]);
  });

  it("holds on to nothing that was taken out, and that to nothing of it", () => {
    const list = new LinkedList<Item>();
    const [first, second, third] = ["a", "b", "c"].map((name) => new Item(name));
    for (const item of [first!, second!, third!]) list.append(item);

    list.remove(second!);

    expect([second!.before, second!.behind]).toEqual([undefined, undefined]);
    expect(first!.behind).toBe(third);
    expect(third!.before).toBe(first);
  });
});
