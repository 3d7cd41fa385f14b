import { pause } from "@msm/conformance";
import { askWorker } from "../../processes/http-answer.js";
import type { App } from "../bench.js";
import { eachLimited } from "../each-limited.js";
import { demand, faultTime, type Row, type Stage } from "../row.js";

const minuteMs = 60_000;

/** One process' clock goes five minutes ahead, the other's as much behind. */
const clockAheadMs = (app: string) => (app === "app1" ? 5 * minuteMs : -5 * minuteMs);

/** Rows in which the processes are not set up alike, or their clocks are wrong. */
export const configurationRows: readonly Row[] = [
  {
    id: "F13a",
    title: "clocks differ by 10 min, and one steps by 1 h",
    bench: () => ({ clockAheadMs }),
    async inject(stage) {
      const app = stage.bench.apps[0]!;
      for (const aheadMs of [60 * minuteMs, -60 * minuteMs]) {
        await setClock(app, aheadMs);
        await faultTime(stage, 0.5);
      }
    },
  },
  {
    id: "F13b",
    title: "sessions expire on time, whatever the clocks say",
    bench: () => ({ clockAheadMs, options: { idleTimeoutMs } }),
    load: "none",
    inject: waitForExpiry,
  },
  {
    id: "F25a",
    title: "the processes name the nodes in different order",
    bench: () => ({ nodeOrder: (app, ids) => (app === "app1" ? ids : [...ids].reverse()) }),
    inject: demandWarnings,
  },
  {
    id: "F25b",
    title: "one process knows a node less",
    bench: () => ({ nodeOrder: (app, ids) => (app === "app1" ? ids : ids.slice(0, -1)) }),
    inject: demandWarnings,
    limits: () => ({
      why: "a process neither finds nor ends what is on a node that only others know; `nodes` is the same in all",
      mayGo: () => true,
      mayReturn: true,
    }),
  },
];

async function setClock({ line, name }: App, aheadMs: number): Promise<void> {
  const path = `/clock?aheadMs=${aheadMs}`;
  const answer = await askWorker(line, { method: "POST", path, cookie: undefined, patienceMs: 10_000 });
  if (answer.kind === "broken") throw new Error(`the clock of ${name} cannot be set: ${answer.why}`);
}

const idleTimeoutMs = 4000;
/** Whole seconds are all that memcached knows, and a busy machine is late. */
const mostLateMs = 3000;

async function waitForExpiry(stage: Stage): Promise<void> {
  const { population, bench } = stage;
  const sessions = await population.begin(20);
  let alive = 0;
  for (let use = 0; use < 4; use++) {
    const beganMs = performance.now();
    await pause(idleTimeoutMs / 2);
    const states = await eachLimited(sessions, 20, (session) => session.state());
    // On a machine that was away for so long itself, nothing is shown.
    if (performance.now() - beganMs > idleTimeoutMs * 0.8) continue;
    const gone = states.filter((state) => state === undefined).length;
    demand(stage, gone === 0, `${gone} sessions expired after half of their idle timeout`);
    alive += states.length - gone;
  }
  await pause(idleTimeoutMs + mostLateMs);
  const left = await Promise.all(sessions.flatMap((session) => bench.apps.map((app) => session.state(app))));
  const alivesLeft = left.filter((state) => state !== undefined).length;
  demand(stage, alivesLeft === 0, `${alivesLeft} sessions outlive their idle timeout by ${mostLateMs} ms`);
  for (const session of sessions) session.standing = "ended";
  stage.counts.set("used in time", alive);
}

async function demandWarnings(stage: Stage): Promise<void> {
  const { bench, population } = stage;
  await faultTime(stage);
  // Each process gets to see what the other one has written.
  const quiet = population.live.filter(({ isQuiet }) => isQuiet).slice(0, 40);
  await eachLimited(quiet, 4, async (session) => {
    const app = session.app();
    const via = app && bench.balancer.otherThan(app);
    if (session.isQuiet) await session.ask("read", { via }).answered;
  });
  for (const { name } of bench.apps) {
    demand(stage, bench.logs.count("warning", name) > 0, `${name} does not warn of another ring`);
  }
  stage.counts.set("warnings", bench.logs.count("warning"));
}
