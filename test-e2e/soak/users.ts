import { pause } from "@msm/conformance";
import type { Random } from "../faults/random.js";
import type { Stage } from "../faults/row.js";
import type { TrackedSession } from "../faults/tracked-session.js";
import { askWorker } from "../processes/http-answer.js";

/** What is done beside the usual load. */
export interface ExtraUsers {
  readonly bursts: number;
  readonly bogus: number;
  /** Resolves when the last of them has its answer. */
  stop(): Promise<void>;
}

const burstEveryMs = 1000;
const burstSize = 8;
/** A twentieth of what the usual load asks. */
const bogusShare = 0.05;

/**
 * Bursts of increments of one session, sent at once; and cookies that are none of ours, which must lead to nothing.
 * Until `stop()`.
 */
export function startExtraUsers(stage: Stage, ratePerSecond: number): ExtraUsers {
  const random = stage.random.fork("extra users");
  const counts = { bursts: 0, bogus: 0 };
  let isOver = false;
  const repeat = async (everyMs: number, work: () => Promise<void>) => {
    while (!isOver) {
      const dueMs = performance.now() + everyMs;
      await work();
      await pause(Math.max(0, dueMs - performance.now()));
    }
  };
  const running = [
    repeat(burstEveryMs, async () => {
      if (await burst(stage, random)) counts.bursts += 1;
    }),
    repeat(1000 / (ratePerSecond * bogusShare), async () => {
      if (await sendBogus(stage, random)) counts.bogus += 1;
    }),
  ];
  return {
    get bursts() {
      return counts.bursts;
    },
    get bogus() {
      return counts.bogus;
    },
    async stop() {
      isOver = true;
      await Promise.all(running);
    },
  };
}

/** Chooses so that few are busy and most are not: the weight of each falls with its rank (Zipf). */
export function zipf(exponent = 0.8): <T>(values: readonly T[], random: Random) => T {
  let sums: number[] = [];
  return (values, random) => {
    if (sums.length !== values.length) sums = cumulated(values.length, exponent);
    const chance = random.next() * (sums.at(-1) ?? 0);
    return values[firstAbove(sums, chance)] ?? random.pick(values);
  };
}

function cumulated(count: number, exponent: number): number[] {
  let sum = 0;
  return Array.from({ length: count }, (_, rank) => {
    sum += (rank + 1) ** -exponent;
    return sum;
  });
}

/** By bisection. */
function firstAbove(sums: readonly number[], value: number): number {
  let least = 0;
  let most = sums.length - 1;
  while (least < most) {
    const middle = (least + most) >> 1;
    if (sums[middle]! > value) most = middle;
    else least = middle + 1;
  }
  return least;
}

/** @returns whether there was a session to send it to */
async function burst({ population }: Stage, random: Random): Promise<boolean> {
  const able = population.live.filter(({ isChanging }) => !isChanging);
  if (able.length === 0) return false;
  const session = random.pick(able);
  const asked = Array.from({ length: burstSize }, () => session.ask("append"));
  const apps = asked.flatMap(({ app }) => (app === undefined ? [] : [app.outOfRotation()]));
  await Promise.race([Promise.all(asked.map(({ answered }) => answered)), ...apps]);
  return asked.length > 0;
}

/** @returns whether there was anybody to send it to */
async function sendBogus({ bench, population }: Stage, random: Random): Promise<boolean> {
  const app = bench.balancer.appFor(undefined);
  const [some] = population.live;
  if (app === undefined || some?.cookie === undefined) return false;
  const cookie = bogus(random.pick(population.live), random);
  const startedMs = performance.now();
  const asking = askWorker(app.line, {
    ...{ method: "GET", path: "/state", cookie: `sid=${cookie}`, patienceMs: 15_000 },
  });
  const judged = asking.then((answer) => {
    population.noteRequest({ kind: "bogus", app: app.name, startedMs, endedMs: performance.now(), answer });
    if (answer.kind === "broken" || answer.status !== 200) return;
    const { tag } = JSON.parse(answer.body) as { tag?: string };
    if (tag !== undefined)
      population.note("broken", `${tag} was served with the session of a cookie that is none`);
  });
  await Promise.race([judged, app.outOfRotation()]);
  return true;
}

/** An id that nobody was given, one of somebody else with a guess for its MAC, or what is no cookie at all. */
function bogus(session: TrackedSession, random: Random): string {
  const digits = (count: number) =>
    Array.from({ length: count }, () => random.between(0, 15).toString(16)).join("");
  const [id, node] = (session.cookie ?? "").split("-");
  return random.pick([
    `${digits(48)}-${node}-${digits(43)}`,
    `${id}-${node}-${digits(43)}`,
    `${id}-n9-${digits(43)}`,
    `lock:${id}-${node}`,
    digits(random.between(0, 300)),
  ]);
}
