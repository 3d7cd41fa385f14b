import { Linked, LinkedList } from "../linked-list.js";
import type { Parts } from "../parts.js";
import { noteEnd } from "./bury.js";
import type { LocalSession } from "./local-sessions.js";
import { restore, type SaveContext, type Saved, save } from "./save.js";

/** A save that is under way. */
export class BackupRun extends Linked {
  readonly local: LocalSession;
  /** The newest change that was there when the save began. */
  readonly upTo: number;
  readonly done: Promise<Saved["kind"]>;

  constructor(local: LocalSession, upTo: number, done: Promise<Saved["kind"]>) {
    super();
    this.local = local;
    this.upTo = upTo;
    this.done = done;
  }
}

/** How a local session is saved. A class, see storage/answers.ts. */
class BackupContext implements SaveContext {
  readonly route: string;
  readonly recreate = true;
  readonly isShared = true;
  readonly idleForMs: number;
  /** The use that the record's time to live counts from, in monotonic milliseconds. */
  readonly usedMs: number;

  constructor({ live, lastUsedMs }: LocalSession, route: string, nowMs: number) {
    this.route = route;
    this.usedMs = live.holders > 0 ? nowMs : lastUsedMs;
    this.idleForMs = nowMs - this.usedMs;
  }
}

/**
 * Saves local sessions to the nodes, one save at a time for each: what changes meanwhile is saved together by the
 * next, so a burst of requests costs two saves, and whoever waits, waits for the one that contains its change.
 */
export class Backups {
  readonly #options: { readonly route: string | undefined };
  readonly #parts: Parts;
  readonly #runs = new LinkedList<BackupRun>();
  /** Sessions with a change that no save succeeded for, and none is under way. */
  readonly #failed = new Set<LocalSession>();

  constructor(options: { readonly route: string | undefined }, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** Sessions whose newest state no node has yet. */
  get unsaved(): readonly LocalSession[] {
    const running = Array.from(this.#runs, ({ local }) => local);
    return [...new Set([...running, ...this.#failed])].filter(({ live }) => live.unsaved);
  }

  /** Sessions whose last save failed. */
  get failed(): readonly LocalSession[] {
    return [...this.#failed];
  }

  /**
   * Resolves when the change of that number is on a node, or the session was destroyed.
   * @throws MsmError as `save()`; the session then stays unsaved
   */
  upTo(local: LocalSession, change: number): Promise<Saved["kind"]> {
    const { live } = local;
    local.unsavedSinceMs ??= this.#parts.clock.monotonicMs();
    if (!live.isSaved(change) && !live.destroyed) {
      const run = local.backup ?? this.#start(local);
      if (run.upTo >= change) return run.done;
    }
    return this.#waitUpTo(local, change);
  }

  /** As `upTo`, where the save that is under way may not be the one to wait for. */
  async #waitUpTo(local: LocalSession, change: number): Promise<Saved["kind"]> {
    while (!local.live.isSaved(change)) {
      if (local.live.destroyed) return "ended";
      const run = local.backup ?? this.#start(local);
      const kind = await run.done.catch((error: unknown) => {
        if (run.upTo >= change) throw error;
        return "stored" as const; // that save was too early for us: the next one counts
      });
      if (kind === "ended") return kind;
    }
    if (!local.live.unsaved) {
      local.unsavedSinceMs = undefined;
      this.#failed.delete(local);
    }
    return "stored";
  }

  /** Nothing is stored at present: what changed waits until it is. */
  postpone(local: LocalSession): void {
    local.unsavedSinceMs ??= this.#parts.clock.monotonicMs();
    this.#failed.add(local);
  }

  /** Does again what failed: saves what is unsaved, or else what was to be saved though nothing had changed. */
  retry(local: LocalSession): Promise<Saved["kind"]> {
    return local.live.unsaved ? this.upTo(local, local.live.changes) : this.again(local);
  }

  /** Saves once more after whatever is under way, though nothing need have changed. @throws MsmError as `save()` */
  async again(local: LocalSession): Promise<Saved["kind"]> {
    while (local.backup !== undefined) await local.backup.done.catch(() => {}); // its own waiters hear of it
    if (local.live.destroyed) return "ended";
    return this.#start(local).done;
  }

  /**
   * Puts what was last stored where it should be now, where nothing newer is to be saved.
   * @returns whether another process has gone on with the session
   * @throws MsmError as `save()`
   */
  async restore(local: LocalSession): Promise<"stored" | "newer" | "ended"> {
    if (local.live.destroyed) return "ended";
    if (local.live.unsaved || local.backup !== undefined) return this.upTo(local, local.live.changes);
    const context = this.#context(local);
    const restored = await restore(local.live, context, this.#parts);
    if (restored.kind === "stored") local.renewedMs = context.usedMs;
    if (restored.kind === "ended") noteEnd(local.live, restored.successor, this.#parts);
    return restored.kind;
  }

  /** Forgets a session that is destroyed. */
  forget(local: LocalSession): void {
    this.#failed.delete(local);
  }

  #context(local: LocalSession): BackupContext {
    return new BackupContext(local, this.#options.route ?? "", this.#parts.clock.monotonicMs());
  }

  #start(local: LocalSession): BackupRun {
    this.#failed.delete(local);
    const run = new BackupRun(local, local.live.changes, this.#save(local));
    this.#runs.append(run);
    local.backup = run;
    return run;
  }

  async #save(local: LocalSession): Promise<Saved["kind"]> {
    const { live } = local;
    try {
      const context = this.#context(local);
      const saved = await save(live, context, this.#parts);
      local.renewedMs = context.usedMs;
      local.unsavedSinceMs = live.unsaved ? this.#parts.clock.monotonicMs() : undefined;
      if (saved.kind === "ended") noteEnd(live, saved.successor, this.#parts);
      return saved.kind;
    } catch (error) {
      this.#failed.add(local);
      throw error;
    } finally {
      if (local.backup !== undefined) this.#runs.remove(local.backup);
      local.backup = undefined;
    }
  }
}
