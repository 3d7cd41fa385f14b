import { createHash } from "node:crypto";
import { pause } from "@msm/conformance";
import type { App } from "../faults/bench.js";
import { isSticky } from "../faults/cell.js";
import type { RequestNote } from "../faults/population.js";
import type { Limits, Row, Stage } from "../faults/row.js";
import { cutOff } from "../faults/rows/acts.js";
import { unsavedAt } from "../faults/rows/processes.js";
import { codeIn } from "../faults/tracked-session.js";
import type { Operation } from "../history/operation.js";
import { operationTimeoutMs } from "./limits.js";
import { Places } from "./places.js";
import { type CellPlan, type Plan, type PlannedFault, shuffled } from "./plan.js";
import { startExtraUsers, zipf } from "./users.js";
import { demandBaseline, takeVitals, type Vitals, watchMemory } from "./vitals.js";

/** What a soak shows of a cell, beside what any row of the fault matrix does. */
export interface CellCounts {
  faults: number;
  /** Answers with a status of 500 and above, in all and while nothing was at fault; by the error's code. */
  readonly serverErrors: Map<string, number>;
  readonly outsideFaults: Map<string, number>;
  /** Milliseconds that 99 of 100 requests took at most while nothing was at fault. */
  p99OutsideMs: number;
  slope: { readonly mbPerMinute: number; readonly overSeconds: number } | undefined;
  vitals: { readonly before: Vitals; readonly after: Vitals } | undefined;
  ledgerHash: string;
}

/** A row of the fault matrix that is a cell of the soak. */
export interface SoakRow {
  readonly row: Row;
  /** Filled while the row runs. */
  readonly counts: CellCounts;
}

/** When something was at fault. */
interface Window {
  readonly fromMs: number;
  readonly toMs: number;
}

const shares = { append: 0.47, login: 0.022, logout: 0.022 };
/** Behind a fault it takes a moment until every process knows. */
const afterFaultMs = 1000;
/** The lease of whoever was killed, or whose reply was lost, ends by itself after 3 s: until then others may wait in vain. */
const leaseEndsAfterMs = 3500;
/** A process grows for other reasons as well; only a long look tells. */
const mostMbPerMinute = 60;
const longLookSeconds = 60;

/** Makes the row. `tell` gets a line for whatever is done. */
export function makeSoakRow(plan: Plan, { cell, faults }: CellPlan, tell: (line: string) => void): SoakRow {
  const counts: CellCounts = {
    faults: 0,
    serverErrors: new Map(),
    outsideFaults: new Map(),
    p99OutsideMs: Number.NaN,
    slope: undefined,
    vitals: undefined,
    ledgerHash: "",
  };
  const busy = zipf();
  let run: CellRun | undefined;
  const row: Row = {
    id: "soak",
    title: `${faults.length} faults, then all restarted, then no node`,
    applies: ({ storage, mode }) => storage === cell.storage && mode === cell.mode,
    bench: () => ({ options: { operationTimeoutMs } }),
    load: {
      ...{ sessions: plan.sessions, ratePerSecond: plan.ratePerSecond, shares },
      // Who is busy is not who comes and goes: else no session would ever grow old.
      choose: (live, random, act) =>
        act === "append" || act === "read" ? busy(live, random) : random.pick(live),
    },
    async inject(stage) {
      run = new CellRun(stage, plan, tell);
      counts.vitals = { before: await takeVitals(stage.bench), after: await takeVitals(stage.bench) };
      await run.play(faults);
    },
    async after(stage) {
      await run?.settle(counts);
      demandNoServerErrors(stage, counts);
    },
    limits: ({ cell: { mode } }): Limits | undefined =>
      mode === "sticky-async" ? unsavedAt(run?.silencedMs ?? []) : undefined,
  };
  return { row, counts };
}

/** A cell under way. */
class CellRun {
  /** When a process was killed or stopped, and with it what it had not saved. */
  readonly silencedMs: number[] = [];
  readonly #stage: Stage;
  readonly #plan: Plan;
  readonly #places: Places;
  readonly #tell: (line: string) => void;
  readonly #windows: Window[] = [];
  readonly #startedMs = performance.now();
  #slope: CellCounts["slope"];
  #faults = 0;

  constructor(stage: Stage, plan: Plan, tell: (line: string) => void) {
    this.#stage = stage;
    this.#plan = plan;
    this.#places = new Places(stage);
    this.#tell = tell;
  }

  /** All faults, the restarts and the time without nodes. */
  async play(faults: readonly PlannedFault[]): Promise<void> {
    const { bench, counts } = this.#stage;
    const extra = startExtraUsers(this.#stage, this.#plan.ratePerSecond);
    const memory = watchMemory(bench, this.#spared);
    try {
      for (const planned of faults) await this.#inject(planned);
      memory.stop();
      this.#slope = memory.slope();
      await this.#restartEverything();
      await this.#withoutNodes();
    } finally {
      memory.stop();
      await extra.stop();
    }
    counts.set("bursts", extra.bursts);
    counts.set("cookies that are none", extra.bogus);
    counts.set("visits for repair", this.#places.visits);
    counts.set("longest wait for places ms", Math.round(this.#places.longestWaitMs));
  }

  /** When the load is over: what is left of it, and the numbers. */
  async settle(counts: CellCounts): Promise<void> {
    const { bench, population } = this.#stage;
    await bench.allNodesUp();
    if (counts.vitals !== undefined) {
      counts.vitals = { ...counts.vitals, after: await demandBaseline(this.#stage, counts.vitals.before) };
    }
    counts.faults = this.#faults;
    counts.slope = this.#slope;
    counts.ledgerHash = hashOf(population.ledger.operations);
    const outside = population.requests.filter((request) => !this.#isInWindow(request));
    tally(population.requests, counts.serverErrors);
    tally(outside, counts.outsideFaults);
    counts.p99OutsideMs = percentile99(outside.map(({ startedMs, endedMs }) => endedMs - startedMs));
    if (this.#slope !== undefined && this.#slope.overSeconds >= longLookSeconds) {
      const { mbPerMinute } = this.#slope;
      if (mbPerMinute > mostMbPerMinute)
        this.#stage.violations.push(`a process grows by ${mbPerMinute} MB/min`);
    }
  }

  /** It lives for all of the faults, so that its memory can be watched. */
  get #spared(): App {
    return this.#stage.bench.apps[0]!;
  }

  async #inject({ fault, lastsMs }: PlannedFault): Promise<void> {
    const { bench, random } = this.#stage;
    const begunMs = performance.now();
    const nodes = shuffled(bench.nodes, random).map(({ id }) => id);
    const app = fault.kills ? bench.apps.find((each) => each !== this.#spared)! : random.pick(bench.apps);
    let node = nodes[0]!;
    if (fault.hits === "node") node = await this.#places.nodeThatMayFail(nodes);
    if (fault.hits === "process") await this.#places.processMayFail();
    await this.#during(`${fault.id} ${fault.hits === "node" ? node : app.name}`, async () => {
      const noteSilence = () => this.silencedMs.push(performance.now());
      await fault.inject(this.#stage, { node, app, lastsMs, noteSilence });
      if (fault.kills) this.#places.noteDeath(app);
    });
    await pause(Math.max(afterFaultMs, this.#plan.everyMs - (performance.now() - begunMs)));
  }

  /** F18: one after the other, each as soon as every session can do without it. */
  async #restartEverything(): Promise<void> {
    const { bench } = this.#stage;
    for (const app of bench.apps) {
      await this.#places.processMayFail();
      const fromMs = performance.now();
      await this.#during(`F18 ${app.name}`, async () => {
        await app.stop();
        this.#places.noteDeath(app);
        await app.start();
      });
      this.#demandAllAnswered(app, fromMs);
    }
    for (const { id, server } of bench.nodes) {
      await this.#places.nodeThatMayFail([id]);
      await this.#during(`F18 ${id}`, () => server.restart());
    }
  }

  /** A process that is asked to end answers what it has begun, and gets no more. */
  #demandAllAnswered({ name }: App, fromMs: number): void {
    const { population, violations } = this.#stage;
    const cut = population.requests.filter(
      ({ app, endedMs, answer }) => app === name && endedMs > fromMs && isCut(answer),
    );
    if (cut.length > 0)
      violations.push(`${cut.length} requests failed as ${name} was restarted: ${codesOf(cut)}`);
  }

  /** F16. The processes of a sticky cell are a copy of all there is, so that its nodes may come back empty. */
  async #withoutNodes(): Promise<void> {
    const { bench, cell } = this.#stage;
    await this.#places.nodeThatMayFail(bench.nodes.map(({ id }) => id));
    await this.#during("F16 all nodes", async () => {
      if (isSticky(cell)) {
        await Promise.all(bench.nodes.map(({ server }) => server.kill()));
        await pause(this.#plan.allDownMs);
        await Promise.all(bench.nodes.map(({ server }) => server.restart()));
      } else {
        const proxies = bench.nodes.flatMap(({ id }) => bench.proxiesOf(id));
        for (const proxy of proxies) cutOff(proxy);
        await pause(this.#plan.allDownMs);
        for (const proxy of proxies) proxy.pass();
      }
      // How soon a process notices is the machine's affair as well.
      await bench.allNodesUp();
    });
  }

  async #during(what: string, work: () => Promise<void>): Promise<void> {
    const fromMs = performance.now();
    await work();
    const toMs = performance.now();
    this.#windows.push({ fromMs, toMs });
    this.#faults += 1;
    const at = ((fromMs - this.#startedMs) / 1000).toFixed(1);
    this.#tell(`${at.padStart(6)} s  ${what} for ${((toMs - fromMs) / 1000).toFixed(1)} s`);
  }

  #isInWindow({ startedMs, endedMs, answer }: RequestNote): boolean {
    const afterMs = codeIn(answer) === "MSM_ERR_LOCK_TIMEOUT" ? leaseEndsAfterMs : afterFaultMs;
    return this.#windows.some(({ fromMs, toMs }) => startedMs < toMs + afterMs && endedMs > fromMs);
  }
}

/** Behind a fault, and before the next, everything must work. */
function demandNoServerErrors({ violations }: Stage, { outsideFaults }: CellCounts): void {
  for (const [code, count] of outsideFaults) {
    violations.push(`${count} requests were answered with ${code} while nothing was at fault`);
  }
}

const codesOf = (requests: readonly RequestNote[]) =>
  [...new Set(requests.map(({ answer }) => codeIn(answer)))].join(", ");

const isCut = (answer: RequestNote["answer"]) =>
  answer.kind === "broken" ? answer.wasSent : codeIn(answer) === "MSM_ERR_CLOSED";

/** Adds how often each error was answered with a status of 500 and above. */
function tally(requests: readonly RequestNote[], into: Map<string, number>): void {
  for (const { answer } of requests) {
    if (answer.kind !== "whole" || answer.status < 500) continue;
    const code = `${answer.status} ${codeIn(answer)}`;
    into.set(code, (into.get(code) ?? 0) + 1);
  }
}

/** What all users were told, but for how long it took. */
function hashOf(operations: readonly Operation[]): string {
  const hash = createHash("sha256");
  for (const { id, outcome } of operations) hash.update(JSON.stringify([id, outcome]));
  return hash.digest("hex").slice(0, 16);
}

/** NaN where there is none. */
function percentile99(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(sorted.length * 0.99) - 1] ?? Number.NaN;
}
