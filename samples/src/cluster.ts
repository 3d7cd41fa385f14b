import { readCommandLine, usage } from "./cluster/options.js";
import { type Cluster, startCluster } from "./cluster/start-cluster.js";

/*
 * node dist/cluster.js sticky|non-sticky [flags]
 *
 * Starts a demo cluster, says where it is, and ends it on Ctrl-C.
 */
async function main(): Promise<void> {
  const options = readCommandLine(process.argv.slice(2));
  if (options === "help") {
    process.stdout.write(usage);
    return;
  }
  const starting = startCluster({ ...options, onLine: (line) => console.error(line) });
  endOnSignals(starting);
  print(await starting);
}

function endOnSignals(starting: Promise<Cluster>): void {
  let isEnding = false;
  const end = async () => {
    if (isEnding) return;
    isEnding = true;
    console.log("\nEnding the cluster …");
    await starting.then((cluster) => cluster.stop());
    process.exit(0);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => void end().catch(fail));
  // Whoever started us with a channel (scripts/sample.mjs) is gone, and cannot tell us any more.
  process.on("disconnect", () => void end().catch(fail));
}

function print(cluster: Cluster): void {
  const { mode, storage, locking, backup, processes, nodes } = cluster.report();
  const lines = [
    `A ${mode} cluster on ${storage.kind} (${storage.why}); locking ${locking}${backup ? `, backup ${backup}` : ""}`,
    "",
    ...[...nodes, ...processes].map(
      ({ name, address, pid }) => `  ${name.padEnd(9)} ${address.padEnd(16)} pid ${pid}`,
    ),
    "",
    `Open ${cluster.url}/`,
    "Ctrl-C ends everything.",
  ];
  console.log(lines.join("\n"));
}

function fail(error: unknown): void {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}

main().catch(fail);
