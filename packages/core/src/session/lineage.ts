/** So many of each side are among the newest where two versions were made of the same one. */
const newestOfEach = 4;

/**
 * Brings two lines of write ids together, the newest last: records name the newest alone, and what came long before must
 * push none of them out.
 */
export function lineageOf(mine: readonly string[], theirs: readonly string[]): readonly string[] {
  if (mine.length === 0) return theirs;
  const known = new Set(theirs);
  const common = mine.findLastIndex((writeId) => known.has(writeId));
  const before = mine.slice(0, common === -1 ? mine.length : common).filter((writeId) => !known.has(writeId));
  // What came of the same version elsewhere is as new as theirs.
  const beside = common === -1 ? [] : mine.slice(common + 1);
  if (beside.length === 0) return [...before, ...theirs];
  return [
    ...before,
    ...theirs.slice(0, -newestOfEach),
    ...beside.slice(-newestOfEach),
    ...theirs.slice(-newestOfEach),
  ];
}
