/** Whether the comparison runs and msm asks its storage as often as it may, whatever the machine makes of the rates. */
import { compare } from "./comparison.mjs";
import { contestantsOf } from "./contestants.mjs";
import { wrongCommands } from "./expected-commands.mjs";
import { missingPrograms } from "./nodes.mjs";

/**
 * @typedef {object} CheckPlan
 * @property {readonly import("./contestants.mjs").Framework[]} frameworks
 * @property {readonly import("./workloads.mjs").Workload[]} workloads
 * @property {boolean} ifInstalled whether there is nothing wrong with a machine that has no memcached or Redis
 */

/**
 * As short as it can be, when what only a server's first requests do is over. No session is used twice in a slice: a lease
 * that goes from one request to the next costs less.
 */
const extent = { rounds: 1, slice: { amount: 128 }, warmUpSlice: { amount: 64 }, sessions: 128 };

/**
 * All cells with one node, and one framework's with two, so that the copies are seen. A request that fails ends it.
 * @param {CheckPlan} plan
 * @returns {Promise<0 | 1>} the exit code
 */
export async function check(plan) {
  const missing = await missingPrograms();
  if (missing.length > 0) {
    console.log(`there is no ${missing.join(" and no ")} on this machine`);
    return plan.ifInstalled && !process.env.CI ? 0 : 1;
  }
  const wrong = [];
  for (const framework of plan.frameworks) wrong.push(...(await checkCells(framework, 1, plan)));
  const [first] = plan.frameworks;
  if (first !== undefined) wrong.push(...(await checkCells(first, 2, plan)));
  for (const sentence of wrong) console.error(sentence);
  return wrong.length === 0 ? 0 : 1;
}

async function checkCells(framework, nodes, { workloads }) {
  const own = nodes === 1 ? contestantsOf(framework) : contestantsOf(framework).filter(isCopying);
  const { cells } = await compare(own, workloads, { ...extent, nodes });
  console.log(`${framework}: ${cells.length} cells with ${nodes === 1 ? "one node" : `${nodes} nodes`} each`);
  return cells.flatMap((cell) => wrongCommands(cell, nodes));
}

const isCopying = ({ sessions }) => sessions.kind === "msm" && sessions.mode === "non-sticky";
