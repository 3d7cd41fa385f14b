/**
 * `pnpm test`: everything CI runs, a short soak, whether the benchmarks run and msm asks its storage no more than it may, and
 * whether the tests notice known defects. A stage that fails does not keep the next from running. The last line alone is
 * `N passed, N failed`, over all test runs, with `, N skipped` behind it where tests were skipped; a failed build, check, soak
 * or benchmark, or a defect that nothing noticed, counts as one failure. Exit code 1 where anything failed.
 *
 * With CI set nothing may be skipped: a skipped test is a failure.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { addUp, closingLine } from "./totals.mjs";

/** @typedef {import("./totals.mjs").StageResult} StageResult */

const root = fileURLToPath(new URL("..", import.meta.url));
const reports = mkdtempSync(join(tmpdir(), "msm-test-"));
const skippedFails = Boolean(process.env.CI);
/** Alone, as it measures: whatever runs beside it would look like a slow node. */
const soak = ["soak", "--seconds", "60", "--seed", "1", "--if-installed"];
/** No rates: what they are says nothing about anybody else's machine. */
const bench = ["--check", "--if-installed"];

try {
  const stages = [
    await runStage("build", [bin("turbo"), "run", "build"]),
    await runStage("check", [...pnpm(), "run", "check"]),
    await runTests("unit"),
    await runTests("e2e"),
    await runStage("soak", [process.execPath, join(root, "scripts", "e2e-program.mjs"), ...soak]),
    await runStage("bench", [process.execPath, join(root, "benchmarks", "bench.mjs"), ...bench]),
    await runStage("mutants", [process.execPath, join(root, "scripts", "mutants", "run.mjs")]),
  ];
  report(stages);
} finally {
  rmSync(reports, { recursive: true, force: true });
}

/** @param {readonly StageResult[]} stages */
function report(stages) {
  const totals = addUp(stages, { skippedFails });

  console.log();
  for (const stage of stages) console.log(stageLine(stage));
  for (const failure of stages.flatMap((stage) => stage.counts?.failures ?? []))
    console.log(`failed: ${failure}`);
  for (const name of stages.flatMap((stage) => stage.counts?.skipped ?? [])) console.log(skippedLine(name));
  console.log(closingLine(totals));
  process.exitCode = totals.failed > 0 ? 1 : 0;
}

/** @param {StageResult} stage */
function stageLine({ name, exitCode, seconds, counts }) {
  const tests = counts ? `, ${closingLine({ ...counts, skipped: counts.skipped.length })}` : "";
  return `${exitCode === 0 ? "ok  " : "FAIL"} ${name} (${seconds.toFixed(1)} s${tests})`;
}

/** @param {string} test */
function skippedLine(test) {
  return skippedFails ? `skipped, which CI does not allow: ${test}` : `skipped: ${test}`;
}

/**
 * @param {string} project one of the projects in vitest.config.ts
 * @returns {Promise<StageResult>}
 */
async function runTests(project) {
  const file = join(reports, `${project}.json`);
  const reporters = ["--reporter=default", "--reporter=./scripts/totals-reporter.mjs"];
  const command = [bin("vitest"), "run", "--project", project, ...reporters];
  const result = await runStage(`${project} tests`, command, { MSM_TOTALS_FILE: file });
  const counts = readCounts(file);
  return counts ? { ...result, counts } : result;
}

/**
 * @param {string} file
 * @returns {import("./totals.mjs").RunCounts | undefined} undefined where the run ended before its report
 */
function readCounts(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

/**
 * @param {string} name
 * @param {readonly string[]} command
 * @param {Record<string, string>} [env]
 * @returns {Promise<StageResult>}
 */
async function runStage(name, command, env = {}) {
  const startedAtMs = Date.now();
  console.log(`\n--- ${name}`);
  const exitCode = await run(command, env);
  return { name, exitCode, seconds: (Date.now() - startedAtMs) / 1000 };
}

/**
 * @param {readonly string[]} command
 * @param {Record<string, string>} env
 * @returns {Promise<number>}
 */
function run([program = "", ...args], env) {
  const child = spawn(program, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1", ...env },
  });
  return new Promise((resolve) => {
    child.on("error", (error) => {
      console.error(error.message);
      resolve(127);
    });
    child.on("close", (code) => resolve(code ?? 1));
  });
}

/** @param {string} name */
function bin(name) {
  return join(root, "node_modules", ".bin", name);
}

/** The pnpm that runs this script, which need not be installed: `npx -y pnpm@10 test` brings its own. */
function pnpm() {
  const path = process.env.npm_execpath;
  return path?.includes("pnpm") ? [process.execPath, path] : ["pnpm"];
}
