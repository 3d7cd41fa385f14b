import { expect, it } from "vitest";
import { type AttributeTable, isSameTable } from "./attribute-table.js";
import { RestingTable } from "./resting-table.js";

const bytes = (text: string) => Buffer.from(text);
const table: AttributeTable = new Map([
  ["user", bytes('{"name":"Anna"}')],
  ["größe", bytes('"groß"')],
  ["raw", Buffer.of(0, 127, 128, 255)],
  ["empty", Buffer.alloc(0)],
]);

it("a resting table is the table that it was made of, however one looks", () => {
  const resting = () => new RestingTable(table);

  expect(resting().size).toBe(4);
  expect(isSameTable(resting(), table)).toBe(true);
  expect([...resting().keys()]).toEqual([...table.keys()]);
  expect([...resting().values()].map((value) => Buffer.from(value))).toEqual([...table.values()]);
  expect(Buffer.from(resting().get("raw")!)).toEqual(Buffer.of(0, 127, 128, 255));
  expect([resting().has("user"), resting().has("none"), resting().get("none")]).toEqual([
    true,
    false,
    undefined,
  ]);
  expect(isSameTable(new Map(resting()), table)).toBe(true);
  const seen: string[] = [];
  resting().forEach((_value, name) => void seen.push(name));
  expect(seen).toEqual([...table.keys()]);
});
