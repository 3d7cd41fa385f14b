/**
 * `pnpm faults`: runs the fault matrix on real servers and real processes, prints a line for each row and cell, and ends with
 * exit code 1 where anything was not as it must be.
 *
 * - `--row F3` and `--cell redis/sticky` take some of it; both may be given more than once, and `--cell redis` means all of
 *   Redis' cells
 * - `--seconds 10` is how long the load of a row runs
 * - `--seed 7` makes the same choices again
 * - `--story` writes down the story of every row, not only of those that failed
 * - `--list` only says which rows there are
 */
import { parseArgs } from "node:util";
import { findProgram } from "@msm/conformance";
import { type Cell, cells, nameOf, programs } from "./cell.js";
import type { Row } from "./row.js";
import { isNamed, rows } from "./rows/index.js";
import { runRow } from "./run-row.js";
import { detailsOf, headline, lineOf } from "./table.js";

const { values: options } = parseArgs({
  args: process.argv.slice(2).filter((argument) => argument !== "--"),
  options: {
    row: { type: "string", multiple: true, default: [] },
    cell: { type: "string", multiple: true, default: [] },
    seconds: { type: "string", default: "10" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    story: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
  },
});

process.exitCode = options.list ? list() : await main();
// Whatever is left open must not keep the result back.
process.exit();

function list(): number {
  for (const { id, title } of rows) console.log(`${id.padEnd(4)} ${title}`);
  return 0;
}

async function main(): Promise<number> {
  const seconds = Number(options.seconds);
  const chosen = choose();
  if (!(seconds > 0) || chosen.length === 0) {
    console.error("no such row or cell; see --list. --seconds is a number above 0");
    return 2;
  }
  console.log(`seed ${options.seed}, ${seconds} s of load a row, Node ${process.version}`);
  console.log(headline);
  const startedMs = performance.now();
  const failed: string[] = [];
  for (const { row, cell } of chosen) {
    if (!(await runAndTell(row, cell, seconds))) failed.push(`${row.id} ${nameOf(cell)}`);
  }
  const minutes = ((performance.now() - startedMs) / 60_000).toFixed(1);
  console.log(`${chosen.length - failed.length} passed, ${failed.length} failed, in ${minutes} min`);
  for (const each of failed) console.log(`failed: ${each}`);
  return failed.length === 0 ? 0 : 1;
}

function choose(): { row: Row; cell: Cell }[] {
  const isRow = (row: Row) => options.row.length === 0 || options.row.some((name) => isNamed(row, name));
  const isCell = (cell: Cell) =>
    options.cell.length === 0 || options.cell.some((name) => name === nameOf(cell) || name === cell.storage);
  const isInstalled = ({ storage }: Cell) => findProgram(programs[storage]) !== undefined;
  for (const cell of cells.filter((each) => isCell(each) && !isInstalled(each))) {
    console.error(`there is no ${programs[cell.storage]} on this machine: ${nameOf(cell)} is left out`);
  }
  return rows
    .filter(isRow)
    .flatMap((row) => cells.filter((cell) => appliesTo(row, cell)).map((cell) => ({ row, cell })))
    .filter(({ cell }) => isCell(cell) && isInstalled(cell));
}

function appliesTo({ applies }: Row, cell: Cell): boolean {
  return applies === undefined ? cell.mode !== "sticky-async" : applies(cell);
}

async function runAndTell(row: Row, cell: Cell, seconds: number): Promise<boolean> {
  try {
    const report = await runRow(row, cell, { seed: options.seed, seconds, tellsAll: options.story });
    console.log(lineOf(report));
    for (const line of detailsOf(report, options.seed)) console.log(line);
    return report.violations.length === 0;
  } catch (error) {
    console.log(`${row.id.padEnd(4)} ${row.title.padEnd(45)} ${nameOf(cell)} broke off`);
    console.error(error);
    return false;
  }
}
