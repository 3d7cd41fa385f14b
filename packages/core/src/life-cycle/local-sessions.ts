import { Linked, LinkedList } from "../linked-list.js";
import type { Parts } from "../parts.js";
import type { LiveSession } from "../session/live-session.js";
import type { BackupRun } from "./backups.js";
import { hasExpired } from "./load.js";

/** A session that lives in this process (sticky). */
export class LocalSession extends Linked {
  readonly live: LiveSession;
  /** Monotonic milliseconds. */
  lastUsedMs: number;
  /** The use from which its record's time to live on the node counts; monotonic milliseconds. */
  renewedMs: number;
  /** Since when a change is unsaved; undefined where none is. */
  unsavedSinceMs: number | undefined;
  /** Another process said that it took the session over, changed or ended it. */
  isDoubted = false;
  /** The save of it that is under way. */
  backup: BackupRun | undefined;

  constructor(live: LiveSession, nowMs: number) {
    super();
    this.live = live;
    this.lastUsedMs = nowMs;
    this.renewedMs = nowMs;
  }
}

/** How many of the least recently used are looked at to make room for one. */
const mostLooks = 100;

/** The sessions of this process. */
export class LocalSessions {
  readonly #parts: Parts;
  readonly #options: { readonly maxLocalSessions: number };
  readonly #sessions = new Map<string, LocalSession>();
  /** The same, least recently used first. */
  readonly #byUse = new LinkedList<LocalSession>();

  constructor(options: { readonly maxLocalSessions: number }, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** The session of that id, now the most recently used; undefined where there is none, or it expired, or ended. */
  use(id: string): LocalSession | undefined {
    const local = this.#sessions.get(id);
    if (local === undefined) return undefined;
    const nowMs = this.#parts.clock.monotonicMs();
    if (this.#isOver(local, nowMs)) {
      this.remove(id);
      return undefined;
    }
    this.#byUse.remove(local);
    this.#byUse.append(local);
    local.lastUsedMs = nowMs;
    return local;
  }

  /** As `use`, but for sessions that another process may have gone on with, or ended. */
  useTrusted(id: string): LocalSession | undefined {
    const local = this.use(id);
    return local?.isDoubted === true ? undefined : local;
  }

  /** Sessions of these digests are looked for on the nodes before they are served again. @returns those held here */
  doubt(digests: ReadonlySet<string> | "all"): readonly LocalSession[] {
    const doubted: LocalSession[] = [];
    for (const local of this.#byUse) {
      if (digests !== "all" && !digests.has(local.live.identity.digest)) continue;
      local.isDoubted = true;
      doubted.push(local);
    }
    return doubted;
  }

  /** The session of that id, without counting as a use. */
  held(id: string): LocalSession | undefined {
    const local = this.#sessions.get(id);
    return local === undefined || this.#isOver(local) ? undefined : local;
  }

  /** Where this very session is held here, without counting as a use. */
  find(live: LiveSession): LocalSession | undefined {
    const local = this.#sessions.get(live.identity.id);
    return local?.live === live ? local : undefined;
  }

  /**
   * Holds a session that a request has and that is not held here: it was pushed out of memory meanwhile. Where the
   * session was found anew since then, that one stays, and the two merge when this one is saved.
   */
  adopt(live: LiveSession): LocalSession {
    return this.#sessions.has(live.identity.id) ? this.#local(live) : this.add(live);
  }

  /** Puts a session in, and those out that are one too many: the least recently used that are safe and unused. */
  add(live: LiveSession): LocalSession {
    const local = this.#local(live);
    this.remove(live.identity.id);
    this.#sessions.set(live.identity.id, local);
    this.#byUse.append(local);
    if (this.#sessions.size > this.#options.maxLocalSessions) this.#evict();
    return local;
  }

  remove(id: string): void {
    const local = this.#sessions.get(id);
    if (local === undefined) return;
    this.#sessions.delete(id);
    this.#byUse.remove(local);
  }

  /** Forgets what expired. @returns what is left, least recently used first */
  sweep(): readonly LocalSession[] {
    for (const local of this.#byUse) if (this.#isOver(local)) this.remove(local.live.identity.id);
    return [...this.#byUse];
  }

  #isOver(local: LocalSession, nowMs = this.#parts.clock.monotonicMs()): boolean {
    if (local.live.destroyed) return true;
    if (hasExpired(local.live.expiresAtMs, this.#parts)) return true;
    return local.live.holders === 0 && nowMs - local.lastUsedMs >= local.live.idleTimeoutMs;
  }

  #local(live: LiveSession): LocalSession {
    return new LocalSession(live, this.#parts.clock.monotonicMs());
  }

  #evict(): void {
    let looks = 0;
    for (const { live } of this.#byUse) {
      // While the nodes are away nothing can leave, and looking at all each time would not help.
      if (this.#sessions.size <= this.#options.maxLocalSessions || ++looks > mostLooks) return;
      const isSafe = !live.unsaved && live.stored !== undefined;
      // While nothing is stored nothing ever becomes safe, and memory has its bounds.
      if (live.holders === 0 && (isSafe || this.#parts.ring.isOff)) this.remove(live.identity.id);
    }
  }
}
