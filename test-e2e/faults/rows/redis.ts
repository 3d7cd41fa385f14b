import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchOptions } from "../bench.js";
import type { Cell } from "../cell.js";
import { tellRedis } from "../node-scan.js";
import { add, faultTime, type Row, type Stage } from "../row.js";

const applies = ({ storage, mode }: Cell) => storage === "redis" && mode !== "sticky-async";

/** Rows of what only a Redis does. */
export const redisRows: readonly Row[] = [
  {
    id: "F27a",
    title: "FLUSHALL on a node; sticky: then a process dies",
    applies,
    async inject(stage) {
      await tellNode(stage, "FLUSHALL");
      await faultTime(stage, 0.6);
      // By now each process has noticed, and dies with nothing that is in its memory alone.
      if (stage.cell.mode === "sticky") await restartApp(stage);
      await faultTime(stage, 0.4);
    },
  },
  {
    id: "F27b",
    title: "a node is loading its data for a while (-LOADING)",
    applies,
    bench: withFiles,
    async inject(stage) {
      const keys = Number((await tellNode(stage, "DBSIZE")).slice(1));
      // It answers -LOADING from time to time while it takes its time for each key.
      await tellNode(stage, "CONFIG", "SET", "loading-process-events-interval-bytes", "1024");
      const delay = Math.round((stage.faultMs * 1000) / Math.max(1, keys));
      await tellNode(stage, "CONFIG", "SET", "key-load-delay", String(delay));
      const reloading = tellRedis(portOf(stage), "DEBUG", "RELOAD").catch(() => {});
      await faultTime(stage);
      await reloading;
    },
    after: tidy,
  },
  {
    id: "F27c",
    title: "a node becomes a replica, and is read-only",
    applies,
    async inject(stage) {
      await tellNode(stage, "REPLICAOF", "127.0.0.1", "1");
      await faultTime(stage);
      await tellNode(stage, "REPLICAOF", "NO", "ONE");
    },
  },
  {
    id: "F27d",
    title: "a node restarts with what it had saved before",
    applies,
    bench: withFiles,
    async inject(stage) {
      const { server } = stage.bench.node("n1");
      await tellNode(stage, "SAVE");
      await faultTime(stage, 0.4);
      await server.restart();
      await faultTime(stage, 0.6);
    },
    after: tidy,
  },
];

async function restartApp({ bench }: Stage): Promise<void> {
  const app = bench.apps[0]!;
  await app.kill();
  await app.start();
}

const portOf = ({ bench }: Stage) => bench.node("n1").server.port;

async function tellNode(stage: Stage, ...words: string[]): Promise<string> {
  const answer = await tellRedis(portOf(stage), ...words);
  if (answer.startsWith("-")) throw new Error(`Redis refuses ${words.join(" ")}: ${answer}`);
  return answer;
}

const folders: string[] = [];

/** Nodes that can write what they hold into a file, and take commands for debugging. */
function withFiles(): BenchOptions {
  const folder = mkdtempSync(join(tmpdir(), "msm-faults-redis-"));
  folders.push(folder);
  return {
    nodeArguments: (node) => [
      ...["--dir", folder, "--dbfilename", `${node}.rdb`],
      ...["--enable-debug-command", "local"],
    ],
  };
}

/** The files are of no use once the nodes have read them. */
async function tidy(stage: Stage): Promise<void> {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  add(stage, "repaired", stage.bench.logs.count("repaired"));
}
