/**
 * `node bench.mjs`: each framework without sessions, with what teams use today, and with msm, and the lock modes beside each
 * other.
 *
 * - `--rounds 5 --seconds 0.8`: slices that count, and how long each is
 * - `--quick`: fewer and shorter ones, for a first look
 * - `--only frameworks` or `--only lock-modes`: one section
 * - `--framework koa`: one framework; may be given more than once
 * - `--workload R`: one workload; may be given more than once
 * - `--contestant sticky`: beside bare and peer, those whose names hold that; may be given more than once
 * - `--profile folder`: each server leaves a CPU profile there
 * - `--burst`: each server's first requests come 64 at a time
 * - `--nodes 2`: so many storage nodes for each of msm's contestants
 * - `--json result.json`: writes what was measured
 * - `--check`: asks nothing but whether all runs and each way asks its storage as often as it may, and ends with 1 where not
 * - `--if-installed`: with `--check`, does nothing where memcached or Redis is missing, unless CI is set
 */
import { cpus } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { check } from "./check.mjs";
import { divideCores } from "./cores.mjs";
import { chosenFrameworks, chosenWorkloads, compareFrameworks } from "./frameworks.mjs";
import { compareLockModes } from "./lock-modes.mjs";

const sections = ["frameworks", "lock-modes"];

const { values } = parseArgs({
  args: process.argv.slice(2).filter((argument) => argument !== "--"),
  options: {
    rounds: { type: "string" },
    seconds: { type: "string" },
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    framework: { type: "string", multiple: true },
    workload: { type: "string", multiple: true },
    contestant: { type: "string", multiple: true },
    profile: { type: "string" },
    burst: { type: "boolean", default: false },
    nodes: { type: "string", default: "1" },
    json: { type: "string" },
    check: { type: "boolean", default: false },
    "if-installed": { type: "boolean", default: false },
  },
});

process.exitCode = await main();

async function main() {
  const { only } = values;
  if (only !== undefined && !sections.includes(only)) {
    throw new Error(`--only must be ${sections.join(" or ")}, got "${only}"`);
  }
  const what = {
    frameworks: chosenFrameworks(values.framework),
    workloads: chosenWorkloads(values.workload),
  };
  if (values.check) return check({ ...what, ifInstalled: values["if-installed"] });

  const cores = divideCores();
  const serverCore = cores?.server;
  console.log(`${introduction(cores)}\n`);
  const extent = readExtent();
  if (only !== "lock-modes") {
    const nodes = positive("nodes", values.nodes);
    const { contestant: contestants } = values;
    const [json, profileFolder] = [pathOf(values.json), pathOf(values.profile)];
    const logInsAtOnce = values.burst ? 64 : undefined;
    const servers = { serverCore, nodes, contestants, profileFolder, logInsAtOnce };
    await compareFrameworks({ ...what, ...extent, ...servers, json, command: commandLine() });
  }
  // There are fewer of them, and half the time will do.
  if (only !== "frameworks") {
    await compareLockModes({ ...extent, seconds: extent.seconds / 2, serverCore });
  }
  return 0;
}

function readExtent() {
  const defaults = values.quick
    ? { rounds: 2, seconds: 0.15, warmUpSeconds: 0.25 }
    : { rounds: 5, seconds: 0.8, warmUpSeconds: 0.8 };
  const { rounds, seconds } = { ...defaults, ...given("rounds"), ...given("seconds") };
  return { rounds, seconds, slice: { seconds }, warmUpSlice: { seconds: defaults.warmUpSeconds } };
}

function given(option) {
  return values[option] === undefined ? {} : { [option]: positive(option, values[option]) };
}

/** Seen from where the command was given: pnpm runs scripts in the package's folder. */
function pathOf(path) {
  return path === undefined ? undefined : resolve(process.env.INIT_CWD ?? "", path);
}

function positive(option, text) {
  const number = Number(text);
  if (number > 0) return number;
  throw new Error(`--${option} must be a number above 0, got "${text}"`);
}

function introduction(cores) {
  const places =
    cores === undefined
      ? "servers and load share the cores (no taskset, or one core): only ratios with large differences mean anything"
      : `servers on core ${cores.server}, load and storage on ${cores.load}`;
  return `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model.trim()}; ${places}`;
}

/** What measures the same again. Where the result is written is nobody else's business. */
function commandLine() {
  const flags = process.argv.slice(2).filter((argument) => argument !== "--");
  const json = flags.indexOf("--json");
  if (json !== -1) flags.splice(json, 2);
  return ["npx -y pnpm@10 bench", ...flags].join(" ");
}
