/**
 * What is read of vitest's JSON report (`--reporter=json`).
 * @typedef {object} VitestReport
 * @property {readonly FileReport[]} testResults
 */
/**
 * @typedef {object} FileReport
 * @property {string} name full path of the file
 * @property {string} status
 * @property {string} [message] why the file could not be run
 * @property {readonly TestReport[]} assertionResults
 */
/**
 * @typedef {object} TestReport
 * @property {string} fullName
 * @property {string} status "passed", "failed", or one that says why it did not run
 */

/**
 * What a vitest run came to. `ran` is false where it ended without a report.
 * @typedef {object} Run
 * @property {boolean} ran
 * @property {readonly string[]} passed full names
 * @property {readonly string[]} failed full names
 * @property {readonly string[]} broken files that could not be run, and why
 * @property {string} output what the run printed, for messages
 */

/**
 * What became of a mutant.
 * - `killed`: by tests that pass on the unchanged sources, all that the list names among them.
 * - `survived`: all its tests pass, so nobody would notice it.
 * - `unclear`: the run broke, no test ran, or not all tests failed that should have.
 * - `skipped`: its tests need a program that is missing.
 * @typedef {object} Verdict
 * @property {import("./mutate.mjs").Mutant} mutant
 * @property {"killed" | "survived" | "unclear" | "skipped"} kind
 * @property {string} detail the first test that failed, or why there is none
 * @property {number} [failures] how many failed
 */

/**
 * @param {VitestReport | undefined} report undefined where there is none
 * @param {string} output
 * @returns {Run}
 */
export function runOf(report, output) {
  const files = report?.testResults ?? [];
  const tests = files.flatMap((file) => file.assertionResults);
  const named = (/** @type {string} */ status) =>
    tests.filter((test) => test.status === status).map((test) => test.fullName);
  const broken = files.filter((file) => file.status === "failed" && !file.assertionResults.some(isFailed));

  return {
    ran: report !== undefined,
    passed: named("passed"),
    failed: named("failed"),
    broken: broken.map((file) => `${file.name}: ${firstLine(file.message ?? "")}`),
    output,
  };
}

/**
 * Judges the run of a mutant. Only a test that passed on the unchanged sources, and fails now, catches a mutant: a runner
 * that crashes or a file that does not load would hide that nothing was tested. All tests that the list names must fail,
 * or the list says what is not so.
 * @param {import("./mutate.mjs").Mutant} mutant
 * @param {Run} run
 * @param {Run} baseline the run of the unchanged sources
 * @returns {Verdict}
 */
export function judge(mutant, run, baseline) {
  const catching = run.failed.filter((test) => baseline.passed.includes(test));
  const [first] = catching;
  const idle = mutant.catchers.filter(({ title }) => !catching.some((test) => test.endsWith(title)));
  if (first !== undefined && idle.length === 0) {
    return { mutant, kind: "killed", detail: first, failures: catching.length };
  }
  if (first !== undefined) {
    return { mutant, kind: "unclear", detail: `fails "${first}", but not "${idle[0]?.title}"` };
  }
  if (!run.ran) return { mutant, kind: "unclear", detail: `no report: ${lastLines(run.output)}` };
  if (run.broken.length > 0) return { mutant, kind: "unclear", detail: run.broken.join("; ") };
  if (run.passed.length === 0) return { mutant, kind: "unclear", detail: "no test ran" };
  return { mutant, kind: "survived", detail: `${run.passed.length} tests pass` };
}

/**
 * What keeps the unchanged sources from being a measure: tests that fail, files that do not load, catchers that no
 * test's name ends with.
 * @param {Run} baseline
 * @param {readonly import("./mutate.mjs").Mutant[]} mutants
 * @returns {string[]}
 */
export function problemsOf(baseline, mutants) {
  if (!baseline.ran) return [`the run ended without a report: ${lastLines(baseline.output)}`];
  const missing = mutants.flatMap(({ name, catchers }) =>
    catchers
      .filter(({ title }) => !baseline.passed.some((test) => test.endsWith(title)))
      .map(({ title }) => `${name}: no test passed whose name ends with "${title}"`),
  );
  return [...baseline.failed.map((test) => `fails: ${test}`), ...baseline.broken, ...missing];
}

/**
 * The table of verdicts.
 * @param {readonly Verdict[]} verdicts
 */
export function table(verdicts) {
  const width = Math.max(0, ...verdicts.map(({ mutant }) => mutant.name.length));
  return verdicts.map(({ mutant, kind, detail, failures = 1 }) => {
    const more = failures > 1 ? ` (and ${failures - 1} more)` : "";
    return `${kind.padEnd(8)}  ${mutant.name.padEnd(width)}  ${detail}${more}`;
  });
}

/**
 * The closing line. An unclear mutant counts as survived, and in CI a skipped one as well: neither was caught.
 * @param {readonly Verdict[]} verdicts
 * @param {{ skippedSurvives: boolean }} options
 * @returns {{ line: string, survived: number }}
 */
export function closing(verdicts, { skippedSurvives }) {
  const count = (/** @type {Verdict["kind"]} */ kind) =>
    verdicts.filter((verdict) => verdict.kind === kind).length;
  const skipped = count("skipped");
  const survived = count("survived") + count("unclear") + (skippedSurvives ? skipped : 0);
  const tail = skipped > 0 && !skippedSurvives ? `, ${skipped} skipped` : "";
  return { line: `${count("killed")} killed, ${survived} survived${tail}`, survived };
}

/** @param {TestReport} test */
const isFailed = (test) => test.status === "failed";

/** @param {string} text */
const firstLine = (text) => text.split("\n")[0] ?? "";

/** @param {string} text */
const lastLines = (text) => text.trim().split("\n").slice(-5).join("\n");
