import { spawnSync } from "node:child_process";
import { findProgram, needsProgram } from "@msm/conformance";

/** What a suite does that needs a Redis server with TLS, and openssl for its certificates. */
export function needsRedisWithTls(): ReturnType<typeof needsProgram> {
  const missing = ["redis-server", "openssl"].map(needsProgram).find(({ reason }) => reason !== "");
  if (missing !== undefined) return missing;
  // It ends at once, as it is told to listen nowhere; without TLS it does not know the option.
  const { stdout, stderr } = spawnSync(findProgram("redis-server")!, ["--port", "0", "--tls-port", "0"]);
  const hasTls = !`${stdout}${stderr}`.includes("FATAL CONFIG");
  return {
    skip: !hasTls && !process.env.CI,
    reason: hasTls ? "" : " (skipped: the redis-server of this machine is built without TLS)",
  };
}
