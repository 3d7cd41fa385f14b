import { MsmError } from "../errors.js";
import { SmallTable } from "./small-table.js";
import { bytesIn, readText, writeText } from "./utf8.js";

/** A session's attributes, each encoded for itself. Never changed in place: a change makes a new table. */
export type AttributeTable = ReadonlyMap<string, Uint8Array>;

/** The table of a session without attributes. */
export const emptyTable: AttributeTable = new Map();

/** Names that would reach an object's prototype instead of the object. */
const refusedNames = new Set(["__proto__", "constructor", "prototype"]);

/** Throws MSM_ERR_ATTRIBUTE_NAME on a name that an attribute must not have. */
export function checkAttributeName(name: string): void {
  if (refusedNames.has(name)) {
    throw new MsmError(
      "MSM_ERR_ATTRIBUTE_NAME",
      `"${name}" cannot be a session attribute; choose another name`,
    );
  }
  if (name.length > 1000) {
    throw new MsmError(
      "MSM_ERR_ATTRIBUTE_NAME",
      `a session attribute's name has ${name.length} characters; 1000 are the most`,
    );
  }
}

/** True where both are absent, or both have the same bytes. */
export function sameBytes(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  if (one === other) return true;
  if (one === undefined || other === undefined || one.length !== other.length) return false;
  return Buffer.compare(one, other) === 0;
}

/** True where both have the same attributes with the same bytes. */
export const isSameTable = (one: AttributeTable, other: AttributeTable): boolean =>
  one.size === other.size && [...one].every(([name, bytes]) => sameBytes(bytes, other.get(name)));

/** Names of the attributes that are in one only, or differ. */
export const differingNames = (one: AttributeTable, other: AttributeTable): string[] =>
  [...new Set([...one.keys(), ...other.keys()])].filter((name) => !sameBytes(one.get(name), other.get(name)));

const countBytes = 4;
const nameLengthBytes = 2;
const valueLengthBytes = 4;

/** How many bytes a table takes, packed. */
export function packedBytes(table: AttributeTable): number {
  const lengths = table.size * (nameLengthBytes + valueLengthBytes);
  if (table instanceof SmallTable) return countBytes + lengths + table.bytesInNames + table.bytesInValues;
  let bytes = countBytes + lengths;
  table.forEach((value, name) => {
    bytes += bytesIn(name) + value.length;
  });
  return bytes;
}

/** @throws MsmError MSM_ERR_RECORD_TOO_LARGE where the packed table is larger than `mostBytes` */
export function checkTableSize(table: AttributeTable, mostBytes: number): void {
  const bytes = packedBytes(table);
  if (bytes <= mostBytes) return;
  const [name, value] = [...table].reduce((most, entry) => (entry[1].length > most[1].length ? entry : most));
  throw new MsmError(
    "MSM_ERR_RECORD_TOO_LARGE",
    `the session's attributes have ${bytes} bytes, ${mostBytes} are the most (see maxRecordBytes); ` +
      `the largest is "${name}" with ${value.length}`,
  );
}

/** Packs a table into bytes of its own. */
export function packTable(table: AttributeTable): Buffer {
  const bytes = Buffer.allocUnsafe(packedBytes(table));
  packInto(bytes, 0, table);
  return bytes;
}

/** Writes a table: its count, then per attribute the name's length, the name in UTF-8, the value's length, the value. */
export function packInto(bytes: Buffer, start: number, table: AttributeTable): void {
  let at = bytes.writeUInt32BE(table.size, start);
  table.forEach((value, name) => {
    const nameLength = writeText(name, bytes, at + nameLengthBytes);
    at = bytes.writeUInt16BE(nameLength, at) + nameLength;
    at = bytes.writeUInt32BE(value.length, at);
    bytes.set(value, at);
    at += value.length;
  });
}

/**
 * Reads what `packTable` wrote; the values are views of `bytes`.
 * @param start where it begins
 * @throws MsmError MSM_ERR_RECORD_SPOILT on anything else
 */
export function unpackTable(bytes: Buffer, start = 0): AttributeTable {
  const names: string[] = [];
  const values: Uint8Array[] = [];
  try {
    const count = bytes.readUInt32BE(start);
    let at = start + countBytes;
    for (let i = 0; i < count; i++) {
      const nameEnd = at + nameLengthBytes + bytes.readUInt16BE(at);
      const name = readText(bytes, at + nameLengthBytes, nameEnd);
      const valueStart = nameEnd + valueLengthBytes;
      at = valueStart + bytes.readUInt32BE(nameEnd);
      if (at > bytes.length) throw new RangeError("a value ends behind the table");
      names.push(name);
      values.push(bytes.subarray(valueStart, at));
    }
    if (at !== bytes.length) throw new RangeError("bytes behind the last value");
  } catch (error) {
    throw MsmError.from(error, "MSM_ERR_RECORD_SPOILT");
  }
  return SmallTable.from(names, values);
}
