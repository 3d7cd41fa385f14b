import type { SessionCookie } from "../cookie/session-cookie.js";
import { MsmError } from "../errors.js";
import type { SessionLock } from "../locking/session-lock.js";
import { waitingFor } from "../locking/waiting.js";
import type { Parts } from "../parts.js";
import type { AttributeTable } from "../session/attribute-table.js";
import type { LiveSession } from "../session/live-session.js";
import type { KeptAttributes, RegenerateOptions, Session } from "../session/session.js";
import { SessionView } from "../session/session-view.js";
import { endUnlessNewer } from "./bury.js";
import { conflictResolver } from "./conflicts.js";
import type { CommitOptions, CommitResult, SessionExchange, SessionRequest } from "./exchange.js";
import type { Keeper } from "./keeper.js";
import { create, goneError, type Heritage } from "./load.js";
import { RequestSession, type SessionHandle } from "./request-session.js";

const unneeded: CommitResult = { outcome: "unneeded" };

/** How an exchange begins: with a session that was found, or a new one. */
export interface ExchangeStart {
  readonly request: SessionRequest;
  /** The verified cookie of the request, whether its session was found or not. */
  readonly cookie?: SessionCookie | undefined;
  readonly live: LiveSession;
  /** Default false: it is new. */
  readonly isFound?: boolean;
  /** What the request has the session to itself with. */
  readonly lock?: SessionLock | undefined;
  /** Whether it may be learned from what the request does. Default false. */
  readonly isLearnt?: boolean;
}

/** Who changes a session faster than it can be handed on changes it after its end. */
const mostHandOns = 16;

/** For work that no request asks for. */
export const noRequest: SessionRequest = { method: "", url: "", cookieHeader: undefined, secure: false };

/** A lock, and which session it is on: a request may change over to another one. */
interface HeldLock {
  readonly id: string;
  readonly lock: SessionLock;
}

/** One request's exchange, in either mode. */
export class RequestExchange implements SessionExchange {
  readonly session: Session;
  readonly #start: ExchangeStart;
  readonly #keeper: Keeper;
  readonly #parts: Parts;
  readonly #mergesAtStart: number;
  #lock: HeldLock | undefined;
  #hasChanged = false;
  #endedHere = false;
  readonly #entered: LiveSession[] = [];
  /** Sessions under former ids, which end once the new one is stored. */
  #retired: LiveSession[] = [];
  #view: SessionView;
  /** Newest change that must be saved before this request may be answered. */
  #owed = 0;
  #commits: Promise<CommitResult> = Promise.resolve(unneeded);
  #failed = false;
  /** That a change of this request gave way in a conflict: no later commit may say that it worked. */
  #lost: MsmError | undefined;
  #renewCookie = false;
  #cookieMaxAgeMs: number | undefined;
  #headersSent = false;
  #ended = false;

  constructor(start: ExchangeStart, keeper: Keeper, parts: Parts) {
    this.#start = start;
    this.#keeper = keeper;
    this.#parts = parts;
    this.#mergesAtStart = start.live.merges;
    if (start.cookie?.id === start.live.identity.id) start.live.announcedNode = start.cookie.node;
    this.#view = this.#enter(start.live);
    if (start.lock !== undefined) this.#hold(start.lock);
    this.#owed = start.live.owedFromStart;
    this.session = new RequestSession(this.#handle());
  }

  cookie(): string | undefined {
    this.#headersSent = true;
    if (this.#failed) return undefined;
    // Another request of this process renewed the id meanwhile: a client that still has the old one shall not lose it.
    const live = successorOf(this.#view.live);
    const { cookies } = this.#parts;
    const context = { secure: this.#start.request.secure, maxAgeMs: this.#cookieMaxAgeMs };
    if (!live.announced || live.destroyed)
      return this.#start.cookie !== undefined && this.#endedHere
        ? cookies.clearingHeader(context)
        : undefined;

    const value = cookies.value(live.identity.id, live.node, this.#keeper.route);
    const lasts = (this.#cookieMaxAgeMs ?? this.#parts.options.cookie.maxAgeMs) !== undefined;
    // After a merge the newest state is here: the client's next request shall come here, not to the other writer.
    const renew =
      (lasts && this.#renewCookie) || (this.#keeper.route !== undefined && live.merges > this.#mergesAtStart);
    if (!renew && value === this.#start.cookie?.value) return undefined;
    live.announcedNode = live.node;
    return cookies.header(value, context);
  }

  commit({ keepLease = false }: CommitOptions = {}): Promise<CommitResult> {
    this.#commits = this.#commits.then(async () => {
      const result = await this.#commitOnce(keepLease ? undefined : this.#lock?.lock);
      if (!keepLease) void this.#release();
      return result;
    });
    return this.#commits;
  }

  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#commits;
    await this.#release();
    if (this.#start.isLearnt === true && this.#start.isFound === true) {
      this.#parts.locking.learn(this.#start.request, this.#hasChanged);
    }
    for (const live of this.#entered) this.#keeper.leave(live);
    this.#parts.exchanges.end();
  }

  /** Takes back what the request did and did not commit: nothing of it is saved. */
  discard(): void {
    this.#view.revert();
    this.#retired = [];
    this.#owed = 0;
  }

  #enter(live: LiveSession): SessionView {
    this.#keeper.enter(live);
    this.#entered.push(live);
    const view = new SessionView(live);
    if (this.#lock?.id === live.identity.id) this.#guard(view);
    return view;
  }

  // --- the lock ---------------------------------------------------------------------------------------------------

  #hold(lock: SessionLock): void {
    this.#lock = { id: this.#view.live.identity.id, lock };
    this.#guard(this.#view);
  }

  /** Who has a session to itself, or had, overwrites nothing that another changed, and nobody overwrites it. */
  #guard(view: SessionView): void {
    view.live.resolve = conflictResolver(view.live.identity, this.#parts, true);
    view.resolve = view.live.resolve;
  }

  get #isLocked(): boolean {
    return this.#lock?.id === this.#view.live.identity.id && this.#lock.lock.isHeld;
  }

  async #takeLock(): Promise<void> {
    if (this.#isLocked) return;
    await this.#release();
    const { clock, options } = this.#parts;
    const waiting = waitingFor(options.lockTimeoutMs, clock, this.#start.request.onClose);
    const lock = await this.#keeper.lock(this.#view.live, waiting).catch((error: unknown) => {
      this.#noteLockTimeout(error);
      throw error;
    });
    if (lock !== undefined) this.#hold(lock);
    // It took too long for whoever wanted it.
    if (this.#ended) await this.#release();
  }

  #noteLockTimeout(error: unknown): void {
    if (!(error instanceof MsmError) || error.code !== "MSM_ERR_LOCK_TIMEOUT") return;
    const { name } = this.#view.live.identity;
    this.#parts.events.emit("lockTimedOut", { session: name, outcome: "refused" });
  }

  async #release(): Promise<void> {
    await this.#lock?.lock.release();
  }

  // --- commit -----------------------------------------------------------------------------------------------------

  async #commitOnce(lock: SessionLock | undefined): Promise<CommitResult> {
    if (this.#lost !== undefined) return { outcome: "failed", error: this.#lost };
    // A regenerate() while this commit is under way is the next one's.
    const view = this.#view;
    const retired = this.#retired;
    try {
      const before = view.live.changes;
      this.#owed = Math.max(this.#owed, view.fold());
      if (view.live.changes > before) this.#hasChanged = true;
      const outcome = await this.#keep(
        view.live,
        this.#owed,
        this.#lock?.id === view.live.identity.id ? lock : undefined,
      );
      this.#retired = this.#retired.filter((live) => !retired.includes(live));
      for (const live of retired) await this.#endFormer(live);
      this.#failed = false;
      return outcome === "unneeded" ? unneeded : { outcome };
    } catch (thrown) {
      const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
      this.#failed = true;
      if (error.code === "MSM_ERR_CONFLICT") this.#lost = error;
      this.#parts.events.emit("commitFailed", { session: view.live.identity.name, error });
      return { outcome: "failed", error };
    }
  }

  async #keep(
    live: LiveSession,
    owed: number,
    lock: SessionLock | undefined,
  ): Promise<CommitResult["outcome"]> {
    this.#checkRefusal(owed);
    if (owed === 0 || live.isSaved(owed)) return "unneeded";
    if (live.destroyed) return this.#carryOver(live);
    if (this.#headersSent && live.stored === undefined && this.#start.cookie?.id !== live.identity.id) {
      throw new MsmError(
        "MSM_ERR_HEADERS_SENT",
        "a new session got its first attribute after the response's headers were sent, so the client cannot be told its id",
      );
    }
    this.#renewCookie = true;
    const outcome = await this.#keeper.keep(live, owed, lock);
    this.#checkRefusal(owed);
    return outcome === "discarded" ? this.#carryOver(live) : outcome;
  }

  /** Its changes may be saved together with others', and these may be all that could stand. @throws MsmError */
  #checkRefusal(owed: number): void {
    const refusal = this.#view.refusal(owed);
    if (refusal !== undefined) throw refusal;
  }

  /** The session ended while this request had it. Where it goes on under a new id, what was changed goes there. */
  async #carryOver(live: LiveSession): Promise<CommitResult["outcome"]> {
    const { successor } = live;
    if (successor === undefined) return "discarded";
    const next = successor.live;
    const merged = this.#parts.merge(successor.base, live.table, next.table, next.resolve);
    this.#view = this.#enter(next);
    next.rebase(merged);
    this.#owed = next.changes;
    return this.#keeper.keep(next, this.#owed, undefined);
  }

  /** The client goes on under the new id. Nodes that do not take the end of the old one now get it when they do. */
  async #endFormer(live: LiveSession): Promise<void> {
    try {
      if (live.successor !== undefined) await this.#handOn(live);
      await this.#keeper.destroy(live);
    } catch (error) {
      if (!(error instanceof MsmError) || error.code !== "MSM_ERR_STORAGE_UNAVAILABLE") throw error;
    }
  }

  /** What others saved under the old id, since this request gave it up, goes on under the new one. */
  async #handOn(former: LiveSession): Promise<void> {
    for (let tries = 0; tries < mostHandOns; tries++) {
      const { live: next, base } = former.successor!;
      if (former.table !== base) {
        next.rebase(this.#parts.merge(base, former.table, next.table, next.resolve));
        former.successor = { live: next, base: former.table };
        await this.#keeper.keep(next, next.changes, undefined);
      }
      if (await endUnlessNewer(former, this.#parts)) return;
    }
  }

  async #regenerate({ keep = "none", grace = false }: RegenerateOptions): Promise<void> {
    if (grace && keep !== "all") {
      throw new MsmError(
        "MSM_ERR_OPTION",
        'regenerate({ grace: true }) is for a plain renewal: it needs keep: "all"',
      );
    }
    if (this.#headersSent) {
      throw new MsmError("MSM_ERR_HEADERS_SENT", "regenerate() came after the response's headers were sent");
    }
    const view = this.#view;
    const former = view.live;
    const base = former.table;
    const heritage: Heritage | undefined =
      keep === "none"
        ? undefined
        : {
            table: pick(view.preview(), keep),
            idleTimeoutMs: former.idleTimeoutMs,
            createdAtMs: former.createdAtMs,
          };
    // What this request changed goes to the new session alone: others may hold the old one, and know its id.
    view.revert();
    const next = create(this.#parts, heritage);
    if (grace) former.successor = { live: next, base };
    this.#hasChanged = true;
    this.#endedHere = true;
    if (former.announced && !former.destroyed) this.#retired = [...this.#retired, former];
    this.#view = this.#enter(next);
    this.#owed = next.owedFromStart;
    this.#lost = undefined;
    this.#parts.events.emit("regenerated", { session: next.identity.name, from: former.identity.name });
  }

  async #destroy(): Promise<void> {
    const { live } = this.#view;
    const retired = this.#retired;
    this.#retired = [];
    this.#owed = 0;
    this.#lost = undefined;
    this.#hasChanged = true;
    this.#endedHere = true;
    for (const former of retired) await this.#endFormer(former);
    await this.#keeper.destroy(live);
  }

  async #reload(): Promise<void> {
    const { live } = this.#view;
    const reloaded = await this.#keeper.reload(live);
    if (reloaded === undefined) throw goneError();
    this.#view.revert();
    if (reloaded !== live) this.#view = this.#enter(reloaded);
    this.#owed = 0;
    this.#lost = undefined;
  }

  #handle(): SessionHandle {
    const view = () => this.#view;
    return {
      view,
      isNew: this.#start.isFound !== true,
      isLocked: () => this.#isLocked,
      lock: () => this.#takeLock(),
      release: () => this.#release(),
      setIdleTimeoutMs: (ms) => {
        const { live } = this.#view;
        live.idleTimeoutMs = ms;
        if (live.announced) this.#owed = live.changes;
      },
      setCookieMaxAgeMs: (ms) => {
        this.#cookieMaxAgeMs = ms;
        this.#renewCookie = true;
      },
      cookieMaxAgeMs: () => this.#cookieMaxAgeMs ?? this.#parts.options.cookie.maxAgeMs,
      save: async () => {
        const { error } = await this.commit({ keepLease: true });
        if (error !== undefined) throw error;
      },
      reload: () => this.#reload(),
      regenerate: (options) => this.#regenerate(options),
      destroy: () => this.#destroy(),
      touch: () => {
        this.#renewCookie = true;
      },
    };
  }
}

/** The session that goes on in the place of this one, if one does. */
function successorOf(live: LiveSession): LiveSession {
  return live.destroyed && live.successor !== undefined ? successorOf(live.successor.live) : live;
}

function pick(table: AttributeTable, keep: KeptAttributes): AttributeTable {
  if (keep === "all" || keep === "none") return table;
  return new Map([...table].filter(([name]) => keep.includes(name)));
}
