import { writeFileSync } from "node:fs";

const longestMessage = 300;

/**
 * A vitest reporter that writes the RunCounts of `totals.mjs` as JSON to the file that MSM_TOTALS_FILE names.
 * vitest's own JSON report knows neither unhandled errors nor the errors of hooks, and both make a run fail.
 */
export default class TotalsReporter {
  /**
   * @param {readonly import("vitest/node").TestModule[]} modules
   * @param {readonly unknown[]} unhandledErrors
   */
  onTestRunEnd(modules, unhandledErrors) {
    const file = process.env.MSM_TOTALS_FILE;
    if (!file) throw new Error("MSM_TOTALS_FILE must name the file that the totals are written to");

    writeFileSync(file, JSON.stringify(countsOf(modules, unhandledErrors)));
  }
}

/**
 * @param {readonly import("vitest/node").TestModule[]} modules
 * @param {readonly unknown[]} unhandledErrors
 * @returns {import("./totals.mjs").RunCounts}
 */
function countsOf(modules, unhandledErrors) {
  const tests = modules.flatMap((module) => [...module.children.allTests()]);
  const inState = (/** @type {string} */ state) => tests.filter((test) => test.result().state === state);
  // Only a test that finished counts as passed or failed; one that is still pending when the run ends did not run.
  const skipped = [...inState("skipped"), ...inState("pending")];

  const failures = [
    ...inState("failed").map((test) => failure(nameOf(test), test.result().errors)),
    ...brokenSuites(modules).map((suite) => failure(nameOf(suite), suite.errors())),
    ...unhandledErrors.map((error) => failure("outside of tests", [error])),
  ];

  return {
    passed: inState("passed").length,
    failed: failures.length,
    failures,
    skipped: skipped.map(nameOf),
  };
}

/** @param {import("vitest/node").TestModule | import("vitest/node").TestSuite | import("vitest/node").TestCase} part */
function nameOf(part) {
  return part.type === "module"
    ? part.relativeModuleId
    : `${part.module.relativeModuleId} > ${part.fullName}`;
}

/**
 * One line, which is all that is left of a failure where a log is cut to its end.
 * @param {string} name
 * @param {readonly unknown[] | undefined} errors
 */
function failure(name, errors = []) {
  const messages = errors.map((error) =>
    String(/** @type {{ message?: unknown }} */ (error)?.message ?? error),
  );
  const line = messages.join("; ").replace(/\s+/g, " ");
  return `${name}: ${line.slice(0, longestMessage)}`;
}

/**
 * Files and describe blocks with an error of their own: a syntax error, an import that fails, a hook that throws.
 * @param {readonly import("vitest/node").TestModule[]} modules
 */
function brokenSuites(modules) {
  const suites = modules.flatMap((module) => [module, ...module.children.allSuites()]);
  return suites.filter((suite) => suite.errors().length > 0);
}
