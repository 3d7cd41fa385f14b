import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Starts a Redis of this run's own, which keeps nothing on disk.
 * @returns {Promise<{ url: string, end(): Promise<void> } | undefined>} undefined where redis-server is not installed
 */
export async function startRedis() {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), "msm-bench-"));
  const args = [
    "--port",
    String(port),
    "--bind",
    "127.0.0.1",
    "--save",
    "",
    "--appendonly",
    "no",
    "--dir",
    folder,
  ];
  const child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "inherit"] });
  const gone = new Promise((resolve) => {
    child.once("close", resolve);
    child.once("error", resolve);
  });
  const ready = new Promise((resolve) => {
    child.stdout?.on("data", (bytes) => String(bytes).includes("Ready to accept") && resolve(true));
  });
  const started = await Promise.race([ready, gone.then(() => false)]);
  const end = async () => {
    child.kill();
    await gone;
    await rm(folder, { recursive: true, force: true });
  };
  if (started) return { url: `redis://127.0.0.1:${port}`, end };

  await end();
  return undefined;
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
