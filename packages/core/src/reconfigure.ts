import { type ChangeableParts, lockingOf } from "./create-parts.js";
import { MsmError } from "./errors.js";
import type { RingChange, RingMember, RingPlan } from "./failover/ring.js";
import type { Mode } from "./life-cycle/mode.js";
import { Modes } from "./life-cycle/modes.js";
import { nonStickyMode } from "./life-cycle/non-sticky.js";
import { type InProcessOptions, stickyMode } from "./life-cycle/sticky.js";
import type { ChangeableOptions, ResolvedOptions, SessionManagerOptions } from "./options.js";
import { changedOptions, inProcessDefaults, resolveOptions } from "./resolve-options.js";
import { within } from "./within.js";

/** What options lead to. */
export interface Settings {
  /** As they were given, those of sticky mode also while the mode is another. */
  readonly given: SessionManagerOptions;
  readonly resolved: ResolvedOptions;
  readonly members: readonly RingMember[];
}

/** Makes the members of the ring that options name. @throws MsmError MSM_ERR_OPTION */
export type MembersOf = (resolved: ResolvedOptions, options: SessionManagerOptions) => readonly RingMember[];

/**
 * A manager's options, and what changes them while it serves sessions: one change after the other, each as a whole or not
 * at all.
 */
export class Configuration {
  readonly modes: Modes;
  readonly #parts: ChangeableParts;
  readonly #membersOf: MembersOf;
  #settings: Settings;
  /** For sessions that live in this process; read by them at each use. */
  #inProcess: InProcessOptions;
  #last: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(settings: Settings, parts: ChangeableParts, membersOf: MembersOf) {
    this.#settings = settings;
    this.#parts = parts;
    this.#membersOf = membersOf;
    this.#inProcess = inProcessOptions(settings.resolved);
    this.modes = new Modes(this.#createMode(settings.resolved), parts);
  }

  /** Whether sessions live in this process: they can be served though no node can be reached. */
  get isInProcess(): boolean {
    return livesInProcess(this.#settings.resolved);
  }

  /**
   * Changes options.
   * @throws MsmError MSM_ERR_OPTION, MSM_ERR_CLOSED, or that of the storage where what is in this process alone could not be
   *   put on the nodes; all is then as it was
   */
  change(changes: ChangeableOptions): Promise<void> {
    const change = this.#last.then(() => this.#change(changes));
    this.#last = change.catch(() => {}); // whoever asked for it hears of it
    return change;
  }

  /** Refuses further changes, and resolves when none is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#last;
  }

  async #change(changes: ChangeableOptions): Promise<void> {
    const { ring, events } = this.#parts;
    this.#checkOpen();
    const { given, options } = changedOptions(this.#settings.given, changes);
    const resolved = resolveOptions(options);
    this.#checkSwitch(resolved);
    const settings = { given, resolved, members: this.#membersOf(resolved, options) };
    const plan = await ring.plan(settings.members, !resolved.enabled);
    const change = await this.#goOver(settings, plan, "locking" in changes);
    events.emit("reconfigured", { options: namesOf(changes), ...change });
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new MsmError("MSM_ERR_CLOSED", "the session manager is closed");
  }

  /** Sessions that are in one process alone cannot go over to a mode of which others know nothing. */
  #checkSwitch(next: ResolvedOptions): void {
    const { mode, enabled } = this.#settings.resolved;
    if (mode.kind === next.mode.kind || (enabled && next.enabled)) return;
    throw new MsmError(
      "MSM_ERR_OPTION",
      `mode "${next.mode.kind}" in place of "${mode.kind}" needs enabled: true, before and after the change`,
    );
  }

  /** What can fail comes first. */
  async #goOver(settings: Settings, plan: RingPlan, changesLocking: boolean): Promise<RingChange> {
    const wasInProcess = this.isInProcess;
    const willBeInProcess = livesInProcess(settings.resolved);
    if (wasInProcess && !willBeInProcess) {
      const change = await this.#putOnNodes(plan);
      this.#take(settings, changesLocking);
      this.modes.switchTo(this.#createMode(settings.resolved));
      return change;
    }
    this.#take(settings, changesLocking);
    if (!wasInProcess && willBeInProcess) this.modes.switchTo(this.#createMode(settings.resolved));
    if (plan.isOff && !this.#parts.ring.isOff) await this.#finishOnNodes();
    return this.#changeRing(plan);
  }

  /** What is in this process alone goes to the nodes, so that any process can go on with it. */
  async #putOnNodes(plan: RingPlan): Promise<RingChange> {
    const { ring } = this.#parts;
    if (!ring.isOff) {
      await this.modes.current.flush(false).catch((error: unknown) => {
        ring.drop(plan);
        throw error;
      });
      return this.#changeRing(plan);
    }
    const change = this.#changeRing(plan);
    try {
      await this.modes.current.flush(true);
      return change;
    } catch (error) {
      this.#changeRing(await ring.plan(this.#settings.members, true));
      throw error;
    }
  }

  /** The last that the nodes get before nothing is stored any more: what exchanges that are open save, and what waits. */
  async #finishOnNodes(): Promise<void> {
    const { options, clock } = this.#parts;
    const saved = this.modes.current.flush(false).catch(() => {}); // it stays in memory
    await within(options.closeTimeoutMs, clock, Promise.all([this.modes.formersEnded(), saved]));
  }

  #changeRing(plan: RingPlan): RingChange {
    const change = this.#parts.ring.change(plan);
    this.#parts.replicas.followRing();
    return change;
  }

  #take(settings: Settings, changesLocking: boolean): void {
    const { resolved } = settings;
    this.#settings = settings;
    Object.assign(this.#parts.options, resolved);
    // What "auto" has learnt is kept while it stays.
    if (changesLocking) Object.assign(this.#parts, lockingOf(resolved));
    this.#parts.ring.noteRecordLife(resolved.idleTimeoutMs);
    // Exchanges of sticky mode that are open while another follows end as they began.
    if (livesInProcess(resolved)) Object.assign(this.#inProcess, inProcessOptions(resolved));
  }

  #createMode(resolved: ResolvedOptions): Mode {
    if (!livesInProcess(resolved)) return nonStickyMode(this.#parts);
    this.#inProcess = inProcessOptions(resolved);
    return stickyMode(this.#inProcess, this.#parts);
  }
}

const livesInProcess = ({ mode, enabled }: ResolvedOptions) => mode.kind === "sticky" || !enabled;

const inProcessOptions = ({ mode }: ResolvedOptions): InProcessOptions =>
  mode.kind === "sticky" ? { ...mode } : { ...inProcessDefaults, route: undefined };

const namesOf = (changes: ChangeableOptions) =>
  Object.entries(changes).flatMap(([name, value]) => (value === undefined ? [] : [name]));
