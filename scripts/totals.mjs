/**
 * What one vitest run came to.
 * @typedef {object} RunCounts
 * @property {number} passed
 * @property {number} failed tests, and whatever else makes a run fail: a file that cannot be loaded, a hook that throws, an unhandled error
 * @property {string[]} failures what failed, a line each: the full name, and the start of the message
 * @property {string[]} skipped full names of the tests that did not run, "todo" included
 */

/**
 * One step of `pnpm test`. `counts` is there for vitest runs that got as far as a report.
 * @typedef {object} StageResult
 * @property {string} name
 * @property {number} exitCode
 * @property {number} seconds
 * @property {RunCounts} [counts]
 */

/** @typedef {{ passed: number, failed: number, skipped: number }} Totals */

/**
 * Adds up the stages. A stage that failed without a failure of its own in the counts (build, check, a runner that
 * crashed) is one failure; a stage without tests that passed adds nothing, so that `passed` counts tests only.
 * @param {readonly StageResult[]} stages
 * @param {{ skippedFails: boolean }} options `skippedFails`: a skipped test is a failure, as in CI, and counts as nothing else
 * @returns {Totals}
 */
export function addUp(stages, { skippedFails }) {
  const passed = sum(stages.map((stage) => stage.counts?.passed ?? 0));
  const failed = sum(stages.map(failuresOf));
  const skipped = sum(stages.map((stage) => stage.counts?.skipped.length ?? 0));
  return skippedFails ? { passed, failed: failed + skipped, skipped: 0 } : { passed, failed, skipped };
}

/**
 * The closing line. The skipped follow only where there are any.
 * @param {Totals} totals
 */
export function closingLine({ passed, failed, skipped }) {
  const line = `${passed} passed, ${failed} failed`;
  return skipped === 0 ? line : `${line}, ${skipped} skipped`;
}

/** @param {StageResult} stage */
function failuresOf(stage) {
  const counted = stage.counts?.failed ?? 0;
  return stage.exitCode !== 0 && counted === 0 ? 1 : counted;
}

/** @param {readonly number[]} numbers */
function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}
