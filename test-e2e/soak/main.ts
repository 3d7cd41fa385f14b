/**
 * `pnpm soak`: real nodes and real processes under load, with a fault every 6 s, then a restart of everything, then no
 * node at all; and in the end an audit of every session against what its users were told. The last line says what came
 * of it, and the exit code is 1 where anything was not as it must be. docs/soak.md
 *
 * - `--seconds 600` is about how long it takes
 * - `--seed 7` makes the same choices again
 * - `--if-installed` does nothing where there is no memcached or Redis on the machine, unless CI is set
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { findProgram } from "@msm/conformance";
import { nameOf, programs } from "../faults/cell.js";
import { seededRandom } from "../faults/random.js";
import { type RowReport, runRow } from "../faults/run-row.js";
import { type CellPlan, makePlan, type Plan } from "./plan.js";
import { type CellResult, closingLine, linesOf } from "./results.js";
import { makeSoakRow } from "./soak-row.js";

const { values: options } = parseArgs({
  args: process.argv.slice(2).filter((argument) => argument !== "--"),
  options: {
    seconds: { type: "string", default: "600" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    "if-installed": { type: "boolean", default: false },
  },
});

process.exitCode = await main();
// Whatever is left open must not keep the result back.
process.exit();

async function main(): Promise<number> {
  const seconds = Number(options.seconds);
  if (!(seconds > 0)) {
    console.error("--seconds is a number above 0");
    return 2;
  }
  const missing = Object.values(programs).filter((program) => findProgram(program) === undefined);
  if (missing.length > 0) {
    console.error(`there is no ${missing.join(" and no ")} on this machine`);
    return options["if-installed"] && !process.env.CI ? 0 : 2;
  }
  const plan = makePlan(seconds, seededRandom(`${options.seed} plan`));
  for (const line of introduction(plan)) console.log(line);

  const results: CellResult[] = [];
  for (const cell of plan.cells) {
    console.log(`\n${nameOf(cell.cell)}`);
    const result = await runCell(cell, plan);
    results.push(result);
    for (const line of linesOf(result)) console.log(line);
  }
  console.log(`\n${closingLine(results)}`);
  return results.every(({ report }) => report?.violations.length === 0) ? 0 : 1;
}

async function runCell(cellPlan: CellPlan, plan: Plan): Promise<CellResult> {
  const { row, counts } = makeSoakRow(plan, cellPlan, (line) => console.log(line));
  let report: RowReport | undefined;
  try {
    report = await runRow(row, cellPlan.cell, { seed: options.seed, seconds: plan.warmUpSeconds * 5 });
  } catch (error) {
    console.error(error);
  }
  return { cell: cellPlan.cell, report, counts };
}

function introduction(plan: Plan): string[] {
  return [
    `soak of about ${options.seconds} s, seed ${options.seed}`,
    `@msm/core ${coreVersion()}, Node ${process.version}, ${versionOf("memcached", "-V")}, ${versionOf("redis-server", "--version")}, ${cpus().length} CPUs`,
    `2 processes, 3 nodes, ${plan.sessions} sessions, ${plan.ratePerSecond} requests/s; a fault every ${plan.everyMs / 1000} s, then all restarted, then no node for ${(plan.allDownMs / 1000).toFixed(1)} s`,
  ];
}

function coreVersion(): string {
  const entry = createRequire(import.meta.url).resolve("@msm/core");
  const path = join(dirname(entry), "..", "package.json");
  return (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
}

/** What a server says of itself, up to its version. */
function versionOf(program: string, flag: string): string {
  const output = execFileSync(findProgram(program)!, [flag], { encoding: "utf8" });
  return /^.*?\d+(\.\d+)+/.exec(output)?.[0] ?? program;
}
