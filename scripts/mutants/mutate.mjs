/**
 * One text in a source, and what takes its place.
 * @typedef {object} Change
 * @property {string} file path from the root of the repository
 * @property {string} find occurs exactly once in the file
 * @property {string} replace
 */

/**
 * One test that must fail on a mutant.
 * @typedef {object} Catcher
 * @property {string} file path from the root of the repository
 * @property {string} title the end of the test's full name, or all of it
 */

/**
 * A defect that somebody may put in one day, and the tests that are there to keep it out.
 * @typedef {object} Mutant
 * @property {string} name kebab-case: the defect, a slash, where it is
 * @property {string} breaks what it does to a session or its lock, in a few words
 * @property {readonly Change[]} changes
 * @property {readonly Catcher[]} catchers each of them must fail; one at least
 * @property {"memcached" | "redis-server"} [needs] the program without which the catchers do not run
 */

/**
 * The text with a change made in it.
 * @param {string} text
 * @param {Change} change
 * @throws {Error} where the text to replace is not there exactly once, or stays the same: the mutant would be none
 */
export function changed(text, { file, find, replace }) {
  const occurrences = find === "" ? 0 : text.split(find).length - 1;
  if (occurrences !== 1) throw new Error(`${file} has this ${occurrences} times instead of once:\n${find}`);
  if (find === replace) throw new Error(`${file}: this is replaced by itself:\n${find}`);
  // A function, as `$` in a string of its own would mean something.
  return text.replace(find, () => replace);
}

/**
 * The texts of a mutant's files.
 * @param {Mutant} mutant
 * @param {(file: string) => string} read
 * @returns {Map<string, string>} by path
 * @throws {Error} as `changed()`, with the mutant's name
 */
export function mutatedFiles({ name, changes }, read) {
  /** @type {Map<string, string>} */
  const texts = new Map();
  try {
    for (const change of changes) {
      texts.set(change.file, changed(texts.get(change.file) ?? read(change.file), change));
    }
  } catch (error) {
    throw new Error(`mutant ${name}: ${error instanceof Error ? error.message : error}`);
  }
  return texts;
}
