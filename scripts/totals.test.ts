import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { addUp, closingLine, type RunCounts } from "./totals.mjs";

const stage = (name: string, exitCode: number, counts?: RunCounts) =>
  counts ? { name, exitCode, seconds: 1, counts } : { name, exitCode, seconds: 1 };

describe("addUp", () => {
  it("adds the tests of all runs", () => {
    const stages = [
      stage("build", 0),
      stage("unit", 0, { passed: 7, failed: 0, failures: [], skipped: [] }),
      stage("e2e", 1, { passed: 2, failed: 1, failures: [], skipped: [] }),
    ];

    expect(addUp(stages, { skippedFails: false })).toEqual({ passed: 9, failed: 1, skipped: 0 });
  });

  it("counts a failed build or check as one failure each", () => {
    const stages = [
      stage("build", 2),
      stage("check", 1),
      stage("unit", 0, { passed: 3, failed: 0, failures: [], skipped: [] }),
    ];

    expect(addUp(stages, { skippedFails: false })).toEqual({ passed: 3, failed: 2, skipped: 0 });
  });

  it("counts a run that ended without a report as one failure", () => {
    expect(addUp([stage("unit", 134)], { skippedFails: false }).failed).toBe(1);
  });

  it("counts a run that failed though all its tests passed as one failure", () => {
    const run = stage("unit", 1, { passed: 3, failed: 0, failures: [], skipped: [] });

    expect(addUp([run], { skippedFails: false })).toEqual({ passed: 3, failed: 1, skipped: 0 });
  });

  it("counts skipped tests as failures where nothing may be skipped", () => {
    const stages = [stage("unit", 0, { passed: 3, failed: 0, failures: [], skipped: ["a", "b"] })];

    expect(addUp(stages, { skippedFails: false })).toEqual({ passed: 3, failed: 0, skipped: 2 });
    expect(addUp(stages, { skippedFails: true })).toEqual({ passed: 3, failed: 2, skipped: 0 });
  });
});

describe("closingLine", () => {
  it("names the skipped only where there are any", () => {
    expect(closingLine({ passed: 12, failed: 0, skipped: 0 })).toBe("12 passed, 0 failed");
    expect(closingLine({ passed: 12, failed: 1, skipped: 1 })).toBe("12 passed, 1 failed, 1 skipped");
  });
});

describe("the reporter", () => {
  const folders: string[] = [];
  afterEach(async () => {
    for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
  });

  it("counts what passed, failed, was skipped, could not be loaded, and went wrong outside of tests", async () => {
    const counts = await countsOfRun({
      "good.test.js": `it("passes", () => {}); it.skip("is skipped", () => {}); it.todo("is to come");`,
      "bad.test.js": `it("fails", () => { throw new Error("failed"); });`,
      "broken.test.js": `throw new Error("cannot be loaded"); it("never runs", () => {});`,
      "hook.test.js": `describe("suite", () => { beforeAll(() => { throw new Error("hook"); }); it("cannot run", () => {}); });`,
      "stray.test.js": `it("passes", () => { Promise.reject(new Error("stray")); });`,
    });

    expect(counts.passed).toBe(2);
    expect(counts.failed).toBe(4);
    expect(counts.failures.sort()).toEqual([
      "bad.test.js > fails: failed",
      "broken.test.js: cannot be loaded",
      "hook.test.js > suite: hook",
      "outside of tests: stray",
    ]);
    expect(counts.skipped.sort()).toEqual([
      "good.test.js > is skipped",
      "good.test.js > is to come",
      "hook.test.js > suite > cannot run",
    ]);
  });

  async function countsOfRun(files: Record<string, string>): Promise<RunCounts> {
    const folder = await mkdtemp(join(tmpdir(), "msm-totals-"));
    folders.push(folder);
    const config = "export default { test: { globals: true } };";
    for (const [name, text] of Object.entries({ "vitest.config.mjs": config, ...files })) {
      await writeFile(join(folder, name), text);
    }
    const totalsFile = join(folder, "totals.json");

    await runVitest(folder, totalsFile);

    return JSON.parse(await readFile(totalsFile, "utf8"));
  }
});

/** Resolves when the run has ended, whatever it came to. */
function runVitest(folder: string, totalsFile: string): Promise<void> {
  const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
  const args = [
    path("../node_modules/vitest/vitest.mjs"),
    "run",
    `--root=${folder}`,
    `--reporter=${path("totals-reporter.mjs")}`,
  ];
  const env = { ...process.env, MSM_TOTALS_FILE: totalsFile };
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: folder, env }, () => resolve());
  });
}
