/** Each framework without sessions, with its peers, and with msm. */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { compare } from "./comparison.mjs";
import { contestantsOf, frameworks, isBare, isPeerOnRedis } from "./contestants.mjs";
import { summarize, tablesOf } from "./summary.mjs";
import { workloads } from "./workloads.mjs";

/**
 * @typedef {import("./comparison.mjs").Extent & {
 *   frameworks: readonly import("./contestants.mjs").Framework[],
 *   workloads: readonly import("./workloads.mjs").Workload[],
 *   contestants: readonly string[] | undefined, parts of names
 *   seconds: number,
 *   command: string,
 *   json: string | undefined,
 * }} FrameworksPlan
 */

/**
 * What `--json` writes.
 * @typedef {object} Result
 * @property {string} date
 * @property {string} command
 * @property {{ node: string, cpus: number, cpu: string | undefined }} machine
 * @property {boolean} isPinned whether servers had a core of their own
 * @property {number} rounds
 * @property {number} seconds
 * @property {number} nodes
 * @property {{ all: number, repeated: number, disturbed: number }} slices
 * @property {import("./summary.mjs").Row[]} rows
 */

/**
 * Prints the tables, and writes the result where a file is named.
 * @param {FrameworksPlan} plan
 */
export async function compareFrameworks(plan) {
  const rows = [];
  const slices = { all: 0, repeated: 0, disturbed: 0 };
  for (const framework of plan.frameworks) {
    const comparison = await compare(chosenContestants(framework, plan.contestants), plan.workloads, plan);
    for (const name of comparison.missing) console.log(`its storage is not installed: ${name}\n`);
    const own = summarize(comparison.cells);
    console.log(`${tablesOf(own, plan.workloads)}\n`);
    rows.push(...own);
    slices.all += comparison.slices;
    slices.repeated += comparison.repeated;
    slices.disturbed += comparison.disturbed;
  }
  console.log(
    `${slices.all} slices; ${slices.repeated} were repeated as others had the processor, and ${slices.disturbed} count though they had\n`,
  );
  if (plan.json !== undefined)
    writeFileSync(plan.json, `${JSON.stringify(resultOf(plan, slices, rows), null, 1)}\n`);
}

/** @returns {Result} */
function resultOf({ command, rounds, seconds, nodes, serverCore }, slices, rows) {
  return {
    date: new Date().toISOString(),
    command,
    machine: { node: process.version, cpus: cpus().length, cpu: cpus()[0]?.model.trim() },
    isPinned: serverCore !== undefined,
    rounds,
    seconds,
    nodes,
    slices,
    rows,
  };
}

/** Those whose name holds one of the parts, and those that ratios are against; all where no part is named. */
function chosenContestants(framework, parts) {
  const isChosen = ({ name }) => parts?.some((part) => name.includes(part)) ?? true;
  return contestantsOf(framework).filter((one) => isBare(one) || isPeerOnRedis(one) || isChosen(one));
}

/** Those that are named, or all; throws on a name that there is not. */
export const chosenFrameworks = (names) => chosen("--framework", names, frameworks, (one) => one);
export const chosenWorkloads = (names) => chosen("--workload", names, workloads, ({ name }) => name);

function chosen(option, names, all, nameOf) {
  const unknown = names?.find((name) => !all.some((one) => nameOf(one) === name));
  if (unknown !== undefined)
    throw new Error(`${option} must be ${all.map(nameOf).join(" or ")}, got "${unknown}"`);
  return names === undefined ? all : all.filter((one) => names.includes(nameOf(one)));
}
