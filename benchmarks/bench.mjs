/**
 * `node bench.mjs [--rounds 7] [--seconds 2] [--quick] [--only express|lock-modes]`: @msm/express beside what people use
 * today, and its lock modes beside each other.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { compareWithPeers } from "./express.mjs";
import { compareLockModes } from "./lock-modes.mjs";

const { values } = parseArgs({
  options: {
    rounds: { type: "string" },
    seconds: { type: "string" },
    quick: { type: "boolean", default: false },
    only: { type: "string" },
  },
});
const defaults = values.quick ? { rounds: 1, seconds: 0.3 } : { rounds: 7, seconds: 2 };
const rounds = Number(values.rounds ?? defaults.rounds);
const seconds = Number(values.seconds ?? defaults.seconds);

const sections = {
  express: () => compareWithPeers({ rounds, seconds }),
  // There are three times as many of them.
  "lock-modes": () => compareLockModes({ rounds, seconds: seconds / 2 }),
};
const names = Object.keys(sections);
if (values.only !== undefined && !names.includes(values.only)) {
  throw new Error(`--only must be ${names.join(" or ")}, got "${values.only}"`);
}

console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model.trim()}\n`);
for (const name of names) if (values.only === undefined || values.only === name) await sections[name]();
