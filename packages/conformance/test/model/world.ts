import { createSessionManager, type SessionManager, type SessionManagerOptions } from "@msm/core";
import type { Scheduler } from "fast-check";
import { leaseTtlMs, type Setting } from "./commands.js";
import { Ledger, type ModelSession } from "./ledger.js";
import { Network } from "./network.js";
import { ProcessLine } from "./process-line.js";
import { settle, steppedClock } from "./stepped-clock.js";

/** An application process. */
export interface Process {
  readonly route: string;
  readonly manager: SessionManager;
  readonly line: ProcessLine;
}

const secret = "the model's secret, of more than 32 bytes";

/** Processes and nodes on one clock, whose every step is chosen by the scheduler. */
export class World {
  readonly clock = steppedClock();
  readonly network: Network;
  readonly ledger: Ledger;
  readonly setting: Setting;
  readonly processes: Process[] = [];
  /** Whether anything went wrong so far; nothing is lost, and nobody is refused, where it did not. */
  hasHadTrouble = false;
  readonly #scheduler: Scheduler;
  readonly #log: string[] = [];
  readonly #unsettled = new Set<string>();
  #violation: Error | undefined;

  constructor(setting: Setting, scheduler: Scheduler) {
    this.setting = setting;
    this.#scheduler = scheduler;
    const nodes = Array.from({ length: setting.nodes }, (_, i) => `n${i + 1}`);
    this.network = new Network(nodes, this.clock, scheduler, setting);
    this.ledger = new Ledger({
      isShared: setting.mode === "sticky",
      isWhole: setting.locking === "none",
      countsExactly: (session) => countsExactly(setting, session),
      mayRefuseKept: ({ wasLocked }) =>
        setting.processes > 1 && (wasLocked || setting.onConflict === "fail" || setting.locking === "auto"),
    });
    for (let i = 0; i < setting.processes; i++) this.processes.push(this.#start(`app${i + 1}`));
  }

  /** What happened so far, a line each. */
  get log(): string {
    return this.#log.join("\n");
  }

  tell(line: string): void {
    this.#log.push(`${String(this.clock.monotonicMs()).padStart(6)} ms  ${line}`);
  }

  /** Notes that a promise to users was broken; the story ends at its next step. */
  violated(what: string): void {
    this.tell(`VIOLATION: ${what}`);
    this.#violation ??= new Error(what);
  }

  throwViolation(): void {
    if (this.#violation !== undefined) throw this.#violation;
  }

  /** Ends a process without a chance to say goodbye, and starts another under its name. */
  replace(process: Process): void {
    this.tell(`${process.route} is killed and started anew`);
    process.line.cut = true;
    process.line.resume();
    void process.manager.close();
    for (const session of this.ledger.sessions) {
      if (session.keptBy === process) session.keptBy = undefined;
      if (session.endedBy === process) session.endedBy = undefined;
      for (const write of session.writes) {
        if (write.process !== process) continue;
        if (write.state === "kept") write.state = "sent";
        if (write.state === "open") write.state = "given up";
      }
    }
    this.processes[this.processes.indexOf(process)] = this.#start(process.route);
  }

  /** Lets `count` steps happen. */
  async takeSteps(count: number): Promise<void> {
    await settle();
    for (let i = 0; i < count && this.#scheduler.count() > 0; i++) await this.#takeStep();
    this.throwViolation();
  }

  /** Lets `ms` pass. `idly`: nothing arrives meanwhile but what would be too late otherwise. */
  async turn(ms: number, idly = false): Promise<void> {
    const endMs = this.clock.monotonicMs() + ms;
    for (;;) {
      if (idly) await settle();
      else await this.#takeAllSteps();
      const untilMs = Math.min(this.clock.nextDueMs(), endMs);
      if (this.network.nextDeadlineMs() <= untilMs) {
        await this.#takeAllSteps();
        continue; // the steps may have set timers, or begun other calls
      }
      const isEnd = this.clock.nextDueMs() > endMs;
      this.clock.goTo(untilMs);
      if (isEnd) break;
    }
    await settle();
    this.throwViolation();
  }

  /** Lets one more step happen, whenever the scheduler chooses it, in a process that runs. */
  async step(label: string, { line }: Process): Promise<void> {
    await this.#scheduler.schedule(Promise.resolve(), label);
    await line.running();
  }

  /** Waits for something, however long it takes on the clock. */
  async completed<T>(work: Promise<T>): Promise<T> {
    let isOver = false;
    const watched = work.finally(() => {
      isOver = true;
    });
    watched.catch(() => {});
    await this.#takeAllSteps();
    for (let waited = 0; waited < 40 && !isOver; waited++) await this.turn(250);
    if (!isOver) throw new Error(`never settled: ${[...this.#unsettled].join(", ")}`);
    return watched;
  }

  /** Notes that `work` must settle. */
  async promised<T>(what: string, work: Promise<T>): Promise<T> {
    const name = `${what} (${this.ledger.tick()})`;
    this.#unsettled.add(name);
    try {
      return await work;
    } finally {
      this.#unsettled.delete(name);
    }
  }

  /** Ends all faults. */
  goOn(): void {
    this.network.heal();
    for (const { line } of this.processes) line.resume();
  }

  /** All is well until every process knows it, and has made up for what it could not do before. */
  async calmDown(): Promise<void> {
    this.goOn();
    // What was asked before may still go unanswered.
    await this.turn(300);
    for (let waited = 0; waited < 45 && this.#knowsOfNodeDown(); waited++) await this.turn(1000);
    await this.turn(2500);
    for (const session of this.ledger.sessions) {
      if (session.keptBy !== undefined) session.stored = true;
      if (session.endedBy !== undefined) session.goneAt = Math.min(session.goneAt, this.ledger.tick());
      for (const write of session.writes) if (write.state === "kept") write.state = "acked";
    }
    this.tell("all is well");
  }

  /** Nobody has a lock, and nobody waits for one, once all requests are over. */
  async checkNoLockIsHeld(): Promise<void> {
    await this.turn(leaseTtlMs);
    const held = await this.network.heldLeases();
    if (held.length > 0) throw new Error(`leases are held by nobody: ${held.join(", ")}`);
    for (const { route, manager } of this.processes) {
      const { waitingRequests } = manager.stats();
      if (waitingRequests !== 0) throw new Error(`${waitingRequests} requests wait in ${route}`);
    }
  }

  /** Whether any request lost its lock before its end, or went on without one. */
  get hasLostLocks(): boolean {
    return this.processes.some(({ manager }) => {
      const { leaseLost, lockTimedOut } = manager.stats().events;
      return leaseLost + lockTimedOut > 0;
    });
  }

  /** Ends all processes; everything that was promised must have settled by then. */
  async close(): Promise<void> {
    for (const { route, manager } of this.processes)
      void this.promised(`close() of ${route}`, manager.close());
    await this.turn(6000);
    if (this.#unsettled.size > 0) throw new Error(`never settled: ${[...this.#unsettled].join(", ")}`);
  }

  #start(route: string): Process {
    const {
      mode,
      backup,
      nodes: _nodes,
      processes: _processes,
      tellsOfRelease: _tells,
      ...options
    } = this.setting;
    const line = new ProcessLine(this.clock);
    const manager = createSessionManager({
      ...options,
      mode,
      ...(mode === "sticky" ? { route, backup } : {}),
      leaseTtlMs,
      secret,
      clock: line.clock,
      nodes: this.network.nodes.map((id) => ({ id, storage: this.network.connect(id, line) })),
    } as SessionManagerOptions);
    return { route, manager, line };
  }

  #knowsOfNodeDown(): boolean {
    return this.processes.some(({ manager }) => manager.health().nodes.some(({ state }) => state === "down"));
  }

  async #takeStep(): Promise<void> {
    await this.#scheduler.waitOne();
    await settle();
  }

  async #takeAllSteps(): Promise<void> {
    await settle();
    while (this.#scheduler.count() > 0) await this.#takeStep();
  }
}

/** Whether no increment is ever overwritten unseen, as each request that counts asks or locks. */
function countsExactly(
  { mode, processes, locking, onConflict, backup }: Setting,
  { isRenewal }: ModelSession,
): boolean {
  if (locking === "none") return false;
  // What was changed under both ids is merged.
  if (isRenewal && locking === "optimistic" && onConflict === "last-write-wins") return false;
  if (mode === "sticky" && processes > 1 && backup === "async") return false;
  if (mode === "sticky" && processes === 1 && locking === "optimistic") return true;
  return onConflict === "fail" || locking !== "optimistic";
}
