import { waitUntil } from "@msm/conformance";
import type { AppReport } from "../faults/app-configuration.js";
import type { App, Bench } from "../faults/bench.js";
import type { Stage } from "../faults/row.js";
import { askWorker } from "../processes/http-answer.js";

/** What processes hold that must not grow. */
export interface Vitals {
  /** The most connections that any process has to any node, and which that is. */
  readonly sockets: number;
  readonly socketsOf: string;
  /** The most timers that keep any process alive. */
  readonly timers: number;
  readonly waiting: number;
  readonly unsaved: number;
  /** The largest heap behind a garbage collection. */
  readonly heapMb: number;
}

const megabyte = 1024 * 1024;

/** Looks at every process, each behind a garbage collection. @throws Error where one does not answer */
export async function takeVitals(bench: Bench): Promise<Vitals> {
  const reports = await Promise.all(bench.apps.map((app) => collectedReport(app)));
  const most = (numberOf: (report: AppReport) => number) => Math.max(...reports.map(numberOf));
  const [mostOpen] = bench.apps
    .flatMap(({ name }) =>
      bench.nodes.map(({ id }) => ({ of: `${name} to ${id}`, open: bench.proxy(name, id).open })),
    )
    .sort((a, b) => b.open - a.open);
  return {
    sockets: mostOpen?.open ?? 0,
    socketsOf: mostOpen?.of ?? "",
    timers: most(({ resources }) => resources.Timeout ?? 0),
    waiting: most(({ waitingRequests }) => waitingRequests),
    unsaved: most(({ unsavedSessions }) => unsavedSessions),
    heapMb: most(({ heapBytes }) => heapBytes) / megabyte,
  };
}

/** One connection for questions, one for the watch. */
const mostSockets = 2;
const mostMoreTimers = 5;

/** Fails the row where what was taken up under load is not given back within 20 s. @returns what is there then */
export async function demandBaseline(stage: Stage, baseline: Vitals): Promise<Vitals> {
  let now = await takeVitals(stage.bench);
  const excess = () => [
    ...(now.sockets > Math.max(mostSockets, baseline.sockets)
      ? [`${now.sockets} sockets (${now.socketsOf})`]
      : []),
    ...(now.timers > baseline.timers + mostMoreTimers ? [`${now.timers} timers`] : []),
    ...(now.waiting > 0 ? [`${now.waiting} waiting requests`] : []),
    ...(now.unsaved > 0 ? [`${now.unsaved} unsaved sessions`] : []),
  ];
  const isBack = async () => {
    if (excess().length > 0) now = await takeVitals(stage.bench);
    return excess().length === 0;
  };
  await waitUntil("all is as before", isBack, { timeoutMs: 20_000, everyMs: 200 }).catch(() => {
    stage.violations.push(`when all is quiet, a process has ${excess().join(", ")}`);
  });
  return now;
}

async function collectedReport(app: App): Promise<AppReport> {
  const answer = await askWorker(app.line, {
    ...{ method: "GET", path: "/report?collect", cookie: undefined, patienceMs: 10_000 },
  });
  if (answer.kind === "whole") return JSON.parse(answer.body) as AppReport;
  throw new Error(`${app.name} does not say how it is: ${answer.why}`);
}

interface Sample {
  readonly atMs: number;
  readonly residentBytes: number;
}

/** Watches how much memory a process has. */
export interface MemoryWatch {
  stop(): void;
  /** How much it grew by in a minute, over the last part of the time, and how long that is; undefined where too little is known. */
  slope(): { readonly mbPerMinute: number; readonly overSeconds: number } | undefined;
}

const sampleEveryMs = 1000;
/** At first a process grows as it warms up. */
const lastPart = 0.6;
const fewestSamples = 5;

/** Begins to watch. One that does not answer, as it stands still, is asked again. */
export function watchMemory(bench: Bench, app: App): MemoryWatch {
  const samples: Sample[] = [];
  const fromMs = performance.now();
  const timer = setInterval(() => void sample(), sampleEveryMs);

  async function sample(): Promise<void> {
    try {
      const { residentBytes } = await bench.report(app);
      samples.push({ atMs: performance.now(), residentBytes });
    } catch {
      // What cannot be measured now is measured in a second.
    }
  }

  return {
    stop: () => clearInterval(timer),
    slope() {
      const toMs = samples.at(-1)?.atMs ?? fromMs;
      const sinceMs = toMs - (toMs - fromMs) * lastPart;
      const late = samples.filter(({ atMs }) => atMs >= sinceMs);
      if (late.length < fewestSamples) return undefined;
      return { mbPerMinute: (slopeOf(late) * 60_000) / megabyte, overSeconds: (toMs - sinceMs) / 1000 };
    },
  };
}

/** Least squares, in bytes a millisecond. */
function slopeOf(samples: readonly Sample[]): number {
  const mean = (numberOf: (sample: Sample) => number) =>
    samples.reduce((sum, each) => sum + numberOf(each), 0) / samples.length;
  const [meanMs, meanBytes] = [mean(({ atMs }) => atMs), mean(({ residentBytes }) => residentBytes)];
  const covariance = mean(({ atMs, residentBytes }) => (atMs - meanMs) * (residentBytes - meanBytes));
  return covariance / mean(({ atMs }) => (atMs - meanMs) ** 2);
}
