import { randomBytes, randomInt } from "node:crypto";
import { describe, expect, it } from "vitest";
import { SmallTable } from "./small-table.js";

/** More than are looked through without an index. */
const names = Array.from({ length: 12 }, (_, at) => `name${at}`);

function changeAtRandom(table: SmallTable, expected: Map<string, Uint8Array>): void {
  const name = names[randomInt(0, names.length)]!;
  if (randomInt(0, 3) === 0) expect(table.delete(name)).toBe(expected.delete(name));
  else {
    const value = randomBytes(3);
    table.set(name, value);
    expected.set(name, value);
  }
}

function expectSame(table: SmallTable, expected: ReadonlyMap<string, Uint8Array>): void {
  expect([...table]).toEqual([...expected]);
  expect([...table.keys()]).toEqual([...expected.keys()]);
  expect([...table.values()]).toEqual([...expected.values()]);
  expect(table.size).toBe(expected.size);
  const visited: unknown[] = [];
  table.forEach((value, name) => void visited.push([name, value]));
  expect(visited).toEqual([...expected]);
  for (const name of names) {
    expect(table.has(name)).toBe(expected.has(name));
    expect(table.get(name)).toBe(expected.get(name));
  }
}

describe("a small table", () => {
  it("has what a Map would have, as do all its former versions, whatever becomes of the later ones", () => {
    const versions = [{ table: SmallTable.from([], []), expected: new Map<string, Uint8Array>() }];

    for (let step = 0; step < 400; step++) {
      const former = versions[randomInt(0, versions.length)]!;
      const next = { table: SmallTable.of(former.table), expected: new Map(former.expected) };
      for (let changes = randomInt(0, 8); changes > 0; changes--) changeAtRandom(next.table, next.expected);
      versions.push(next);
      if (versions.length > 20) versions.shift();
      for (const { table, expected } of versions) expectSame(table, expected);
    }
  });

  it("is made of any other map", () => {
    const other = new Map(names.map((name) => [name, randomBytes(2) as Uint8Array]));

    expectSame(SmallTable.of(other), other);
  });
});
