import { statOf, tellRedis } from "../node-scan.js";
import { demand, faultTime, type Row, type Stage } from "../row.js";
import type { TrackedSession } from "../tracked-session.js";

/** Rows in which nodes are full, or sessions too large. */
export const fullRows: readonly Row[] = [
  {
    id: "F8a",
    title: "a node is full, and refuses what is written",
    // memcached tells it to refuse by an option at its start: -M, with room for little.
    bench: ({ storage }) => ({
      nodeArguments: (node) =>
        storage === "redis" ? ["--maxmemory-policy", "noeviction"] : node === "n1" ? ["-M", "-m", "2"] : [],
    }),
    inject: fillANode,
  },
  {
    id: "F8b",
    title: "a Redis may evict: it is warned of at the start",
    applies: ({ storage, mode }) => storage === "redis" && mode !== "sticky-async",
    bench: () => ({ nodeArguments: () => ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"] }),
    load: "none",
    async inject(stage) {
      const { bench, population } = stage;
      const sessions = await population.begin(10);
      await Promise.all(sessions.map((session) => session.ask("append").answered));
      for (const { name } of bench.apps) {
        demand(stage, bench.logs.count("warning", name) > 0, `${name} does not warn of the eviction policy`);
      }
      stage.counts.set("warnings", bench.logs.count("warning"));
    },
  },
  {
    id: "F8c",
    title: "full nodes evict without a word",
    bench: ({ storage }) => ({
      nodeArguments: () =>
        storage === "redis" ? ["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"] : ["-m", "2"],
    }),
    async inject(stage) {
      const filling = begin(stage, 300, 40_000);
      await faultTime(stage);
      await filling;
    },
    async after(stage) {
      const { bench, cell } = stage;
      const name = cell.storage === "redis" ? "evicted_keys" : "evictions";
      const evicted = await Promise.all(
        bench.nodes.map(({ server }) => statOf(cell.storage, server.port, name)),
      );
      stage.counts.set(
        "evicted",
        evicted.reduce((sum, each) => sum + each),
      );
    },
    limits: () => ({
      why: "servers that evict lose sessions without telling",
      mayGo: () => true,
      mayLose: () => true,
    }),
  },
  {
    id: "F9",
    title: "a session becomes too large to be stored",
    load: "none",
    inject: growTooLarge,
  },
];

async function fillANode(stage: Stage): Promise<void> {
  const { bench, cell } = stage;
  const { port } = bench.node("n1").server;
  if (cell.storage === "redis") await tellRedis(port, "CONFIG", "SET", "maxmemory", "1mb");
  const filling = begin(stage, 100, 40_000);
  await faultTime(stage);
  await filling;
  if (cell.storage === "redis") await tellRedis(port, "CONFIG", "SET", "maxmemory", "0");
}

/** Sessions that hold much; those that cannot begin are left. */
async function begin({ population }: Stage, count: number, fillBytes: number): Promise<TrackedSession[]> {
  const sessions = Array.from({ length: count }, () => population.add());
  for (const session of sessions) await session.begin({ fillBytes });
  return sessions;
}

const tooLargeBytes = 1_200_000;

async function growTooLarge(stage: Stage): Promise<void> {
  const { population } = stage;
  const sessions = await population.begin(100);
  await Promise.all(sessions.map((session) => session.ask("append").answered));
  let refused = 0;
  for (const session of sessions) {
    const { status, code } = await session.fill(tooLargeBytes);
    if (status >= 400 && code === "MSM_ERR_RECORD_TOO_LARGE") refused += 1;
  }
  demand(stage, refused === sessions.length, `${sessions.length - refused} were not refused`);
  const later = await Promise.all(sessions.map((session) => session.ask("append").answered));
  const usable = later.filter(({ outcome }) => outcome.kind === "acknowledged").length;
  demand(stage, usable === sessions.length, `${sessions.length - usable} cannot be used any more`);
  stage.counts.set("refused", refused);
  stage.counts.set("usable", usable);
}
