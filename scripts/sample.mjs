/**
 * `node scripts/sample.mjs sticky|non-sticky [flags]`: builds what the demo cluster needs, silently where that works,
 * and runs it in this terminal. Ends with the demo's exit code.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

await build();
runDemo(process.argv.slice(2));

async function build() {
  const saying = setTimeout(() => console.log("Building, a moment …"), 1500);
  const turbo = spawn(
    join(root, "node_modules", ".bin", "turbo"),
    ["run", "build", "--filter", "@msm/samples"],
    {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1" },
    },
  );
  /** @type {Buffer[]} */
  const output = [];
  turbo.stdout.on("data", (bytes) => output.push(bytes));
  turbo.stderr.on("data", (bytes) => output.push(bytes));
  const exitCode = await new Promise((resolve) => {
    turbo.on("error", (error) => {
      output.push(Buffer.from(`${error.message}\n`));
      resolve(127);
    });
    turbo.on("close", (code) => resolve(code ?? 1));
  });
  clearTimeout(saying);
  if (exitCode === 0) return;
  process.stderr.write(Buffer.concat(output));
  process.exit(exitCode);
}

/** @param {readonly string[]} args */
function runDemo(args) {
  // The channel is never spoken on: that it closes tells the demo that this process is gone, however it ended.
  const demo = spawn(process.execPath, [join(root, "samples", "dist", "cluster.js"), ...args], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
  });
  // Ctrl-C reaches the demo by itself, `kill` only this process; the demo minds neither being told twice.
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
    process.on(signal, () => demo.kill(signal));
  }
  // A package manager that is told to end tells its shell, and the shell tells nobody: this process only loses its parent.
  const parent = process.ppid;
  if (process.env.npm_lifecycle_event !== undefined) {
    setInterval(() => process.ppid === parent || demo.kill("SIGTERM"), 500).unref();
  }
  demo.on("close", (code) => process.exit(code ?? 1));
}
