/**
 * `node scripts/e2e-program.mjs faults [flags]`, or `soak`: builds the packages, silently where that works, and runs
 * `test-e2e/<name>/main.ts` on them. Ends with its exit code.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(root, "test-e2e");
const [name = "", ...flags] = process.argv.slice(2);

const filters = ["@msm/express", "@msm/conformance"].flatMap((each) => ["--filter", each]);
await quietly(bin("turbo"), ["run", "build", ...filters]);
await quietly(bin("tsup"), [
  ...[`--entry.${name}`, `${name}/main.ts`, "--format", "esm", "--target", "node20", "--sourcemap"],
  ...["--out-dir", "dist", "--no-config", "--silent"],
]);
const program = spawn(
  process.execPath,
  ["--enable-source-maps", join(folder, "dist", `${name}.js`), ...flags],
  {
    stdio: "inherit",
  },
);
// Ctrl-C reaches the program by itself, `kill` only this process.
for (const signal of /** @type {const} */ (["SIGTERM", "SIGHUP"]))
  process.on(signal, () => program.kill(signal));
process.on("SIGINT", () => {});
program.on("close", (code) => process.exit(code ?? 1));

/**
 * @param {string} command
 * @param {readonly string[]} args
 */
async function quietly(command, args) {
  const child = spawn(command, args, {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1" },
  });
  /** @type {Buffer[]} */
  const output = [];
  child.stdout.on("data", (bytes) => output.push(bytes));
  child.stderr.on("data", (bytes) => output.push(bytes));
  const exitCode = await new Promise((resolve) => {
    child.on("error", (error) => {
      output.push(Buffer.from(`${error.message}\n`));
      resolve(127);
    });
    child.on("close", (code) => resolve(code ?? 1));
  });
  if (exitCode === 0) return;
  process.stderr.write(Buffer.concat(output));
  process.exit(exitCode);
}

/** @param {string} command */
function bin(command) {
  return join(root, "node_modules", ".bin", command);
}
