/** Which cores servers and load get, so that neither takes the other's. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/**
 * Moves this process, with whatever it starts, off the first core that it may use, and keeps that for servers.
 * @returns {{ server: string, load: string } | undefined} the cores as taskset names them; undefined where there is no
 * taskset, or one core only
 */
export function divideCores() {
  const [server, ...load] = allowedCores();
  if (load.length === 0) return undefined;
  try {
    const command = ["--all-tasks", "--pid", "--cpu-list", load.join(","), String(process.pid)];
    execFileSync("taskset", command, { stdio: "ignore" });
  } catch {
    // Not installed, or not allowed: then they share the cores, and the output says so.
    return undefined;
  }
  return { server: String(server), load: load.join(",") };
}

/** @returns {number[]} none where the system does not tell */
function allowedCores() {
  try {
    const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "";
    return list.split(",").flatMap((range) => {
      const [first = 0, last = first] = range.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
  } catch {
    return [];
  }
}
