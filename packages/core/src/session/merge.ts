import { type AttributeTable, sameBytes } from "./attribute-table.js";

/** Where two saves changed the same attribute: its bytes in the common ancestor, in mine, in theirs. */
export interface EncodedConflict {
  readonly name: string;
  readonly base: Uint8Array | undefined;
  readonly mine: Uint8Array | undefined;
  readonly theirs: Uint8Array | undefined;
}

/** Decides what stands in a conflict; undefined deletes the attribute. */
export type ResolveEncoded = (conflict: EncodedConflict) => Uint8Array | undefined;

/** Makes one table of two that came of one. */
export type Merge = (
  base: AttributeTable,
  mine: AttributeTable,
  theirs: AttributeTable,
  resolve: ResolveEncoded,
) => AttributeTable;

/**
 * Merges two tables that came of one: an attribute that only one side changed is that side's, so disjoint changes both
 * survive; one that both changed is what `resolve` gives. Compares bytes, decodes nothing.
 */
export function mergeTables(
  base: AttributeTable,
  mine: AttributeTable,
  theirs: AttributeTable,
  resolve: ResolveEncoded,
): AttributeTable {
  const merged = new Map<string, Uint8Array>();
  for (const name of new Set([...theirs.keys(), ...mine.keys()])) {
    const value = mergeAttribute(
      { name, base: base.get(name), mine: mine.get(name), theirs: theirs.get(name) },
      resolve,
    );
    if (value !== undefined) merged.set(name, value);
  }
  return merged;
}

function mergeAttribute(conflict: EncodedConflict, resolve: ResolveEncoded): Uint8Array | undefined {
  const { base, mine, theirs } = conflict;
  if (sameBytes(base, mine)) return theirs;
  if (sameBytes(base, theirs) || (mine === undefined && theirs === undefined)) return mine;
  // Also where both are the same: two increments that began with the same number ought to be two.
  return resolve(conflict);
}

/**
 * The whole table of whoever saves last: mine where I changed anything, whatever becomes of theirs by that. `resolve` hears
 * of each attribute of theirs that gives way.
 */
export function lastTable(
  base: AttributeTable,
  mine: AttributeTable,
  theirs: AttributeTable,
  resolve: ResolveEncoded,
): AttributeTable {
  const names = [...new Set([...base.keys(), ...mine.keys(), ...theirs.keys()])];
  if (names.every((name) => sameBytes(base.get(name), mine.get(name)))) return theirs;
  for (const name of names) {
    const conflict = { name, base: base.get(name), mine: mine.get(name), theirs: theirs.get(name) };
    const givesWay = !sameBytes(conflict.theirs, conflict.base);
    if (givesWay) resolve(conflict);
  }
  return mine;
}
