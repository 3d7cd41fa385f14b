import { randomBytes, randomInt } from "node:crypto";
import { describe, expect, it } from "vitest";
import { MsmError } from "../errors.js";
import { checkTableSize, packTable, unpackTable } from "./attribute-table.js";

describe("a packed table", () => {
  it("unpacks to what it was, for names and values of any bytes", () => {
    for (let round = 0; round < 200; round++) {
      const entries = Array.from({ length: randomInt(20) }, (_, i) => {
        const name = `${i}-${"ü€😀x".repeat(randomInt(20))}`;
        return [name, randomBytes(randomInt(2000))] as const;
      });
      expect(new Map(unpackTable(packTable(new Map(entries))))).toEqual(new Map(entries));
    }
  });

  it("that was cut, lengthened or changed gives a table or MSM_ERR_RECORD_SPOILT, and nothing else", () => {
    const packed = packTable(
      new Map([
        ["a", Buffer.from("1")],
        ["b", Buffer.from("22")],
      ]),
    );

    for (let round = 0; round < 10_000; round++) {
      const bytes = Buffer.from(packed).subarray(0, randomInt(packed.length + 1));
      if (bytes.length > 0) bytes[randomInt(bytes.length)] = randomInt(256);
      try {
        unpackTable(bytes);
      } catch (error) {
        if (!(error instanceof MsmError) || error.code !== "MSM_ERR_RECORD_SPOILT") throw error;
      }
    }
  });

  it("that would be too large is refused with the name of its largest attribute", () => {
    const table = new Map([
      ["small", Buffer.alloc(10)],
      ["cart", Buffer.alloc(5000)],
    ]);

    expect(() => checkTableSize(table, 4000)).toThrow(/"cart" with 5000/);
    expect(() => checkTableSize(table, packTable(table).length)).not.toThrow();
  });
});
