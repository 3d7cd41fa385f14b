/**
 * `pnpm mutants`: puts one known defect after the other into a copy of the sources and runs the tests that are there to
 * catch it. Ends with `N killed, N survived`; exit code 1 where one survived.
 *
 * `--only <part of a name>` takes some of the mutants, and may be given more than once. `--all-tests` runs all unit tests
 * of the packages on each, to see who else notices; that takes a minute or two for each.
 *
 * A mutant whose tests need a program that is missing is skipped; where CI is set it counts as survived.
 */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { compileErrors } from "./compile.mjs";
import { mutants } from "./mutants.mjs";
import { closing, judge, problemsOf, table } from "./report.mjs";
import { Workspace } from "./workspace.mjs";

/** @typedef {import("./mutate.mjs").Mutant} Mutant */
/** @typedef {import("./report.mjs").Verdict} Verdict */

const repository = fileURLToPath(new URL("../..", import.meta.url));
const skippedSurvives = Boolean(process.env.CI);
const { values: options } = parseArgs({
  options: {
    only: { type: "string", multiple: true, default: [] },
    "all-tests": { type: "boolean", default: false },
  },
});

process.exitCode = await main();

async function main() {
  const chosen = choose(options.only);
  const runnable = chosen.filter((mutant) => isInstalled(mutant.needs));
  const started = Date.now();
  /** @type {Workspace[]} */
  const workspaces = [];
  const end = () => {
    for (const workspace of workspaces) workspace.close();
  };
  process.once("exit", end);
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

  try {
    const first = new Workspace(repository);
    workspaces.push(first);
    const notMutants = compileErrors(first, runnable);
    if (notMutants.length > 0) return fail("mutants that are no working programs", notMutants);
    const baseline = await testsOf(first, runnable);
    const problems = problemsOf(baseline, runnable);
    if (problems.length > 0) return fail("the unchanged sources", problems);
    console.error(`${baseline.passed.length} tests pass on the unchanged sources`);

    // Two at a time: the tests of one wait for servers and clocks most of the time. All tests are enough for a machine.
    if (!options["all-tests"] && runnable.length > 1) workspaces.push(new Workspace(repository));
    const queue = [...runnable];
    /** @type {Verdict[]} */
    const verdicts = chosen
      .filter((mutant) => !runnable.includes(mutant))
      .map((mutant) => ({ mutant, kind: "skipped", detail: `there is no ${mutant.needs} on this machine` }));
    const work = async (/** @type {Workspace} */ workspace) => {
      for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
        const own = mutant;
        const run = await workspace.mutated(own, () => testsOf(workspace, [own]));
        const verdict = judge(own, run, baseline);
        verdicts.push(verdict);
        console.error(`${verdict.kind} ${own.name}`);
      }
    };
    await Promise.all(workspaces.map(work));
    return summary(inOrder(verdicts), Date.now() - started);
  } finally {
    end();
  }
}

/** @param {readonly string[]} parts */
function choose(parts) {
  const chosen = mutants.filter(
    ({ name }) => parts.length === 0 || parts.some((part) => name.includes(part)),
  );
  if (chosen.length === 0) {
    throw new Error(`no mutant has such a name; there are:\n${mutants.map(({ name }) => name).join("\n")}`);
  }
  return chosen;
}

/**
 * @param {Workspace} workspace
 * @param {readonly Mutant[]} chosen
 */
function testsOf(workspace, chosen) {
  // By folders of the packages: tests of scripts and samples are about other things.
  if (options["all-tests"]) return workspace.test(["packages/"], { maxWorkers: 2 });
  const catchers = chosen.flatMap((mutant) => mutant.catchers);
  const titles = new Set(catchers.map(({ title }) => title.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")));
  const files = new Set(catchers.map(({ file }) => file));
  return workspace.test([...files], {
    pattern: `(?:${[...titles].join("|")})$`,
    maxWorkers: chosen.length > 1 ? 2 : 1,
  });
}

/** @param {string | undefined} program */
function isInstalled(program) {
  if (program === undefined) return true;
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** @param {readonly Verdict[]} verdicts */
function inOrder(verdicts) {
  return mutants.flatMap((mutant) => verdicts.filter((verdict) => verdict.mutant === mutant));
}

/**
 * @param {readonly Verdict[]} verdicts
 * @param {number} tookMs
 */
function summary(verdicts, tookMs) {
  const { line, survived } = closing(verdicts, { skippedSurvives });
  console.error(`took ${Math.round(tookMs / 1000)} s\n`);
  for (const row of table(verdicts)) console.log(row);
  console.log(line);
  return survived > 0 ? 1 : 0;
}

/**
 * @param {string} what
 * @param {readonly string[]} problems
 */
function fail(what, problems) {
  console.error([`Nothing can be said of the tests, because of ${what}:`, ...problems].join("\n- "));
  return 1;
}
