import type { CarriedSession } from "../cookie/session-tokens.js";
import { MsmError } from "../errors.js";
import type { SessionLock } from "../locking/session-lock.js";
import { type Waiting, waitingFor } from "../locking/waiting.js";
import type { Parts } from "../parts.js";
import { type AttributeTable, differingNames, isSameTable } from "../session/attribute-table.js";
import type { LiveSession } from "../session/live-session.js";
import type { KeptAttributes, RegenerateOptions, Session } from "../session/session.js";
import { SessionView } from "../session/session-view.js";
import { conflictResolver } from "./conflicts.js";
import type {
  CommitOptions,
  CommitResult,
  CookieRequest,
  SessionExchange,
  SessionRequest,
} from "./exchange.js";
import type { Keeper, Outcome } from "./keeper.js";
import { create, goneError, type Heritage } from "./load.js";
import { destroyWithHeirs, endFormer, heirOf, type Renewal, renewed, unlessOutage } from "./renewal.js";
import { RequestSession, type SessionHandle } from "./request-session.js";

/** Made once for all: most commits say the same. */
const results: Readonly<Record<Outcome, CommitResult>> = {
  unneeded: { outcome: "unneeded" },
  stored: { outcome: "stored" },
  kept: { outcome: "kept" },
  discarded: { outcome: "discarded" },
};
const { unneeded } = results;
const noCommits: Promise<CommitResult> = Promise.resolve(unneeded);
const done: Promise<void> = Promise.resolve();

/** How an exchange begins: with a session that was found, or a new one. */
export interface ExchangeStart {
  readonly request: SessionRequest;
  /** The verified cookie of the request, whether its session was found or not. */
  readonly cookie?: CarriedSession | undefined;
  readonly live: LiveSession;
  /** Default false: it is new. */
  readonly isFound?: boolean;
  /** What the request has the session to itself with. */
  readonly lock?: SessionLock | undefined;
  /** Whether it may be learned from what the request does. Default false. */
  readonly isLearnt?: boolean;
}

/**
 * A start that is kept. A class, as V8 puts literals of an expression that often live long, as those of sixty requests under way,
 * into the old generation at once: with each would go its whole request, which is garbage a moment later. That cost more than
 * all the rest of an exchange.
 */
class KeptStart implements ExchangeStart {
  readonly request: SessionRequest;
  readonly cookie: CarriedSession | undefined;
  readonly live: LiveSession;
  readonly isFound: boolean;
  readonly lock: SessionLock | undefined;
  readonly isLearnt: boolean;

  constructor({ request, cookie, live, isFound = false, lock, isLearnt = false }: ExchangeStart) {
    this.request = request;
    this.cookie = cookie;
    this.live = live;
    this.isFound = isFound;
    this.lock = lock;
    this.isLearnt = isLearnt;
  }
}

/** For work that no request asks for. */
export const noRequest: SessionRequest = { method: "", url: "", cookieHeader: undefined, secure: false };

/** A lock, and which session it is on: a request may change over to another one. */
interface HeldLock {
  readonly id: string;
  readonly lock: SessionLock;
}

/** One request's exchange, in either mode. */
export class RequestExchange implements SessionExchange, SessionHandle {
  readonly session: Session;
  readonly #start: ExchangeStart;
  readonly #keeper: Keeper;
  readonly #parts: Parts;
  readonly #mergesAtStart: number;
  #lock: HeldLock | undefined;
  #takingLock: Promise<void> | undefined;
  #hasChanged = false;
  #isCommitted = false;
  #endedHere = false;
  #entered: LiveSession | undefined;
  /** Those that it went on with, under new ids. */
  #enteredLater: LiveSession[] | undefined;
  /** Sessions under former ids, which end once the new one is stored. */
  #renewals: readonly Renewal[] = [];
  /** Sessions that `destroy()` was called for, and of whose end no node is known to know yet. */
  #unended: Set<LiveSession> | undefined;
  /** A `destroy()` that is under way. */
  #ending: Promise<void> | undefined;
  #view: SessionView;
  /** Newest change that must be saved before this request may be answered. */
  #owed = 0;
  /** Those that were asked for, one after the other. */
  #commits = noCommits;
  #commitsUnderWay = 0;
  #failed = false;
  /** That a fold of what the request did was refused, and what it did besides is in the session all the same. */
  #isHalfDone = false;
  /** That the commit which begins now has folded already. */
  #isFolded = false;
  /** That a change of this request gave way in a conflict: no later commit may say that it worked. */
  #lost: MsmError | undefined;
  #renewCookie = false;
  #cookieMaxAgeMs: number | undefined;
  #headersSent = false;
  #ended = false;

  constructor(start: ExchangeStart, keeper: Keeper, parts: Parts) {
    this.#start = new KeptStart(start);
    this.#keeper = keeper;
    this.#parts = parts;
    this.#cookieMaxAgeMs = parts.options.cookie.maxAgeMs;
    this.#mergesAtStart = start.live.merges;
    if (start.cookie?.id === start.live.identity.id) {
      // An older cookie than the one that was sent last changes nothing about where the session is at home.
      const { node } = start.cookie;
      start.live.announcedNode ??= node;
      if (node !== undefined) start.live.noteLookedForOn(node);
    }
    this.#view = this.#enter(start.live);
    if (start.lock !== undefined) this.#hold(start.lock);
    this.#owed = start.live.owedFromStart;
    this.session = new RequestSession(this);
  }

  cookie({ renew = false }: CookieRequest = {}): string | undefined {
    this.#headersSent = true;
    if (this.#failed) return undefined;
    // Another request of this process renewed the id meanwhile: a client that still has the old one shall not lose it.
    const live = heirOf(this.#view.live) ?? this.#view.live;
    const { cookies } = this.#parts;
    const context = { secure: this.#start.request.secure, maxAgeMs: this.#cookieMaxAgeMs };
    if (!live.announced || live.destroyed)
      return this.#start.cookie !== undefined && this.#endedHere
        ? cookies.clearingHeader(context)
        : undefined;

    const lasts = this.#cookieMaxAgeMs !== undefined;
    // After a merge the newest state is here: the client's next request shall come here, not to the other writer.
    const isNewer =
      (lasts && this.#renewCookie) || (this.#keeper.route !== undefined && live.merges > this.#mergesAtStart);
    const isWanted = renew || isNewer;
    if (!isWanted && this.#isCarried(live)) return undefined;
    const tokens = this.#start.request.tokens ?? cookies;
    const value = tokens.value(live.identity.id, live.node, this.#keeper.route);
    if (!isWanted && value === this.#start.cookie?.value) return undefined;
    live.announcedNode = live.node;
    live.noteLookedForOn(live.node);
    return cookies.header(value, context);
  }

  /** Whether the client has said already all that its cookie would say. */
  #isCarried(live: LiveSession): boolean {
    const { cookie } = this.#start;
    if (cookie?.isCurrent !== true) return false;
    return cookie.id === live.identity.id && cookie.node === live.node && cookie.route === this.#keeper.route;
  }

  commit({ keepLease = false }: CommitOptions = {}): CommitResult | Promise<CommitResult> {
    const isFirst = this.#commitsUnderWay === 0;
    const takingLock = this.#takingLock;
    if (isFirst && takingLock === undefined && this.#hasNothingToSave()) {
      this.#isFolded = false;
      this.#noteCommitted();
      if (!keepLease && this.#lock !== undefined) void this.release();
      return unneeded;
    }
    this.#commitsUnderWay++;
    this.#commits = isFirst
      ? this.#run(keepLease, takingLock)
      : this.#commits.then(() => this.#run(keepLease, takingLock));
    return this.#commits;
  }

  /** Most requests change nothing, and wait for nothing. */
  #hasNothingToSave(): boolean {
    if (this.#isEnding || this.#lost !== undefined || this.#renewals.length > 0) return false;
    try {
      this.#fold(this.#view);
      this.#isFolded = true;
      this.#checkRefusal();
      return this.#isSafe;
    } catch {
      return false; // what is refused is refused again, and told then
    }
  }

  async #run(keepLease: boolean, takingLock: Promise<void> | undefined): Promise<CommitResult> {
    if (takingLock !== undefined) await takingLock.catch(() => {}); // whoever called lock() hears of it
    let result: CommitResult;
    try {
      result = await this.#commitOnce(keepLease ? undefined : this.#lock?.lock);
    } catch (thrown) {
      result = this.#failedBy(thrown);
    }
    if (!keepLease && this.#lock !== undefined) void this.release();
    this.#commitsUnderWay--;
    return result;
  }

  /** Whether something is under way that a commit has to wait for. */
  get #isBusy(): boolean {
    return this.#commitsUnderWay > 0 || this.#takingLock !== undefined;
  }

  /** Whether there are sessions whose end is to be seen to. */
  get #isEnding(): boolean {
    return this.#ending !== undefined || (this.#unended !== undefined && this.#unended.size > 0);
  }

  end(): Promise<void> {
    if (this.#ended) return done;
    this.#ended = true;
    if (this.#isBusy || this.#isHalfDone || this.#lock !== undefined) return this.#endLater();
    this.#leave();
    return done;
  }

  async #endLater(): Promise<void> {
    await this.#commits;
    // Others may hold the session, and would save what this request was told not to have done.
    if (this.#isHalfDone) this.#view.revert();
    if (this.#lock !== undefined) await this.release();
    this.#leave();
  }

  #leave(): void {
    const isKnown = this.#hasChanged || this.#isCommitted;
    if (isKnown && this.#start.isLearnt === true && this.#start.isFound === true) {
      this.#parts.locking.learn(this.#start.request, this.#hasChanged);
    }
    if (this.#entered !== undefined) this.#keeper.leave(this.#entered);
    for (const live of this.#enteredLater ?? []) this.#keeper.leave(live);
    this.#keeper.exchanges.end();
  }

  /** There is no response: nobody could be told of a new id. */
  answerNobody(): void {
    this.#headersSent = true;
  }

  /** Takes back what the request did and did not commit: nothing of it is saved. */
  discard(): void {
    this.#view.revert();
    this.#renewals = [];
    this.#owed = 0;
  }

  #enter(live: LiveSession): SessionView {
    this.#keeper.enter(live);
    if (this.#entered === undefined) this.#entered = live;
    else if (this.#enteredLater === undefined) this.#enteredLater = [live];
    else this.#enteredLater.push(live);
    const view = new SessionView(live);
    if (this.#lock !== undefined) this.#guard(view);
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

  /** @param before commits that were asked for before: what they save is no other request's change */
  async #waitForLock(before: Promise<unknown>): Promise<void> {
    await before;
    if (this.isLocked) return;
    await this.release();
    const { clock, options } = this.#parts;
    const waiting = waitingFor(options.lockTimeoutMs, clock, this.#start.request.onClose);
    const lock = await this.#lockHeir(waiting).catch((error: unknown) => {
      this.#noteLockTimeout(error);
      throw error;
    });
    if (lock !== undefined) this.#hold(lock);
    // It took too long for whoever wanted it.
    if (this.#ended) await this.release();
  }

  /** The session may have got a new id since the request began. */
  async #lockHeir(waiting: Waiting): Promise<SessionLock | undefined> {
    for (;;) {
      try {
        return await this.#keeper.lock(this.#view.live, waiting);
      } catch (error) {
        const isGone = error instanceof MsmError && error.code === "MSM_ERR_SESSION_GONE";
        if (!isGone || !(await this.#moveOn())) throw error;
      }
    }
  }

  #noteLockTimeout(error: unknown): void {
    if (!(error instanceof MsmError) || error.code !== "MSM_ERR_LOCK_TIMEOUT") return;
    const { name } = this.#view.live.identity;
    this.#parts.events.emit("lockTimedOut", { session: name, outcome: "refused" });
  }

  // --- commit -----------------------------------------------------------------------------------------------------

  /** Gives a promise only for what has to be waited for, and of no more steps than that has. @throws MsmError */
  #commitOnce(lock: SessionLock | undefined): CommitResult | Promise<CommitResult> {
    if (this.#lost !== undefined) throw this.#lost;
    if (this.#isEnding || this.#renewals.length > 0) return this.#commitWithEnds(lock);
    if (!this.#isFolded) this.#fold(this.#view);
    this.#isFolded = false;
    const first = this.#keepOnce(lock);
    return first instanceof Promise
      ? first.then((outcome) => this.#kept(outcome, lock))
      : this.#kept(first, lock);
  }

  #kept(outcome: Outcome, lock: SessionLock | undefined): CommitResult | Promise<CommitResult> {
    this.#checkRefusal();
    if (outcome === "discarded")
      return this.#keepElsewhere(lock).then((elsewhere) => this.#committed(elsewhere));
    return this.#committed(outcome);
  }

  async #commitWithEnds(lock: SessionLock | undefined): Promise<CommitResult> {
    const view = this.#view;
    // A regenerate() while this commit is under way is the next one's.
    const renewals = this.#renewals;
    if (this.#isEnding) await (this.#ending ?? this.#endAll());
    if (!this.#isFolded) this.#fold(view);
    this.#isFolded = false;
    const kept = await this.#keep(lock);
    const isGone = renewals.length > 0 && !(await this.#endFormers(renewals));
    return this.#committed(isGone ? "discarded" : kept);
  }

  #committed(outcome: Outcome): CommitResult {
    this.#noteCommitted();
    return results[outcome];
  }

  #failedBy(thrown: unknown): CommitResult {
    const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
    if (error === this.#lost) return { outcome: "failed", error };
    this.#failed = true;
    if (error.code === "MSM_ERR_CONFLICT") this.#lost = error;
    this.#parts.events.emit("commitFailed", { session: this.#view.live.identity.name, error });
    return { outcome: "failed", error };
  }

  /** Puts what the request did into the session. @throws MsmError as `SessionView.fold` */
  #fold(view: SessionView): void {
    const { live } = view;
    const before = live.changes;
    this.#isHalfDone = true;
    this.#owed = Math.max(this.#owed, view.fold());
    this.#isHalfDone = false;
    if (live.changes > before) this.#hasChanged = true;
  }

  #noteCommitted(): void {
    this.#failed = false;
    this.#isCommitted = true;
  }

  /** Whether nothing of what the request did is to be saved. */
  get #isSafe(): boolean {
    return this.#owed === 0 || this.#view.live.isSaved(this.#owed);
  }

  async #keep(lock: SessionLock | undefined): Promise<Outcome> {
    const outcome = await this.#keepOnce(lock);
    this.#checkRefusal();
    return outcome === "discarded" ? this.#keepElsewhere(lock) : outcome;
  }

  #keepOnce(lock: SessionLock | undefined): Outcome | Promise<Outcome> {
    const { live } = this.#view;
    this.#checkRefusal();
    if (this.#isSafe) return "unneeded";
    if (live.destroyed) return "discarded";
    const isLocked = this.#lock?.id === live.identity.id;
    return this.#keepLive(live, isLocked ? lock : undefined);
  }

  /** Where the session goes on under a new id, what was changed goes there. */
  async #keepElsewhere(lock: SessionLock | undefined): Promise<Outcome> {
    while (await this.#moveOn()) {
      if (this.#owed === 0) {
        // It was taken along by another request, whose save need not be done yet.
        const { live: next } = this.#view;
        if (!next.unsaved) return "stored";
        this.#owed = next.changes;
      }
      const outcome = await this.#keepOnce(lock);
      this.#checkRefusal();
      if (outcome !== "discarded") return outcome;
    }
    return "discarded";
  }

  #keepLive(live: LiveSession, lock: SessionLock | undefined): ReturnType<Keeper["keep"]> {
    if (this.#headersSent && live.stored === undefined && this.#start.cookie?.id !== live.identity.id) {
      throw new MsmError(
        "MSM_ERR_HEADERS_SENT",
        "a new session got its first attribute after the response's headers were sent, so the client cannot be told its id",
      );
    }
    this.#renewCookie = true;
    return this.#keeper.keep(live, this.#owed, lock);
  }

  /** Its changes may be saved together with others', and these may be all that could stand. @throws MsmError */
  #checkRefusal(): void {
    const refusal = this.#view.refusal(this.#owed);
    if (refusal !== undefined) throw refusal;
  }

  // --- new ids ----------------------------------------------------------------------------------------------------

  /**
   * The session ended while this request had it. Where it goes on under a new id, so does the request, with what it changed.
   * @returns whether it does
   */
  async #moveOn(): Promise<boolean> {
    const { live } = this.#view;
    if (!live.destroyed || live.successor === undefined) return false;
    const next = live.successor.live ?? (await this.#keeper.find(live.successor));
    if (next === undefined) return false;
    // Another request may have gone along meanwhile, and taken something.
    this.#goOnWith(next, live.successor.base, this.#view.preview());
    // With this request's changes went all that others had saved together with them.
    live.successor = { ...live.successor, live: next, base: live.table };
    return true;
  }

  #goOnWith(next: LiveSession, base: AttributeTable, mine: AttributeTable): void {
    const view = this.#enter(next);
    const merged = this.#parts.merge(base, mine, next.table, view.resolve);
    // What another request took along of this one's is refused to both, if at all.
    const names = [...this.#view.unsavedNames, ...differingNames(next.table, merged)];
    this.#view = view;
    if (!isSameTable(merged, next.table)) next.adopt(merged);
    this.#owed = view.takeOn(names);
  }

  /** The new session is stored, and the client goes on with it. @returns false where another request had ended the old one */
  async #endFormers(renewals: readonly Renewal[]): Promise<boolean> {
    for (const renewal of renewals) {
      const ending = await endFormer(renewal, this.#keeper, this.#parts);
      this.#renewals = this.#renewals.filter((other) => other !== renewal);
      if (ending.kind === "ended") continue;

      const { next } = renewal;
      if (ending.kind === "renewed") {
        this.#goOnWith(ending.by, ending.base, next.table);
        await this.#keep(undefined);
      }
      await destroyWithHeirs(next, this.#keeper).catch(unlessOutage);
      if (ending.kind === "destroyed") {
        // Whoever ended it tells the client of that, and perhaps where it goes on.
        this.#endedHere = false;
        return false;
      }
    }
    return true;
  }

  async regenerate({ keep: kept = "none", grace = false }: RegenerateOptions): Promise<void> {
    const keep = typeof kept === "boolean" ? (kept ? "all" : "none") : kept;
    if (grace && keep !== "all") {
      throw new MsmError(
        "MSM_ERR_OPTION",
        'regenerate({ grace: true }) is for a plain renewal: it needs keep: "all"',
      );
    }
    if (this.#headersSent) {
      throw new MsmError("MSM_ERR_HEADERS_SENT", "regenerate() came after the response's headers were sent");
    }
    this.#hasChanged = true;
    // Another request has just renewed the id: twice would be two sessions.
    while (await this.#moveOn()) if (grace) return;
    const view = this.#view;
    const former = view.live;
    const base = former.table;
    const heritage: Heritage | undefined =
      keep === "none" || former.destroyed
        ? undefined
        : {
            table: pick(view.preview(), keep),
            idleTimeoutMs: former.idleTimeoutMs,
            createdAtMs: former.createdAtMs,
          };
    // The application may make the id, and look at the session for that: so it is still as the request has it.
    const next = create(this.#parts, this.#start.request, heritage);
    // What this request changed goes to the new session alone: others may hold the old one, and know its id.
    view.revert();
    this.#endedHere = true;
    this.#renewals = renewed(this.#renewals, { former, next, keep, grace, base, progress: {} });
    this.#view = this.#enter(next);
    this.#owed = next.owedFromStart;
    this.#lost = undefined;
    this.#parts.events.emit("regenerated", { session: next.identity.name, from: former.identity.name });
  }

  async destroy(): Promise<void> {
    const { live } = this.#view;
    const renewals = this.#renewals;
    this.#renewals = [];
    this.#owed = 0;
    this.#lost = undefined;
    this.#hasChanged = true;
    this.#endedHere = true;
    this.#unended ??= new Set();
    for (const each of [...renewals.map(({ former }) => former), live]) this.#unended.add(each);
    const ending = this.#endAll().finally(() => {
      if (this.#ending === ending) this.#ending = undefined;
    });
    this.#ending = ending;
    await ending;
  }

  /**
   * Ends what is to end. Where no node took that, the next commit tries it again: whatever the application made of the error, if
   * it looked, its client is not told of an end that did not come.
   */
  async #endAll(): Promise<void> {
    const endings = await Promise.allSettled(
      [...(this.#unended ?? [])].map(async (live) => {
        await destroyWithHeirs(live, this.#keeper);
        this.#unended?.delete(live);
      }),
    );
    for (const ending of endings) if (ending.status === "rejected") throw ending.reason;
  }

  async reload(): Promise<void> {
    const { live } = this.#view;
    const reloaded = await this.#keeper.reload(live);
    const isRenewed = reloaded === undefined && live.destroyed && live.successor !== undefined;
    if (reloaded === undefined && !isRenewed) throw goneError();
    this.#view.revert();
    if (reloaded !== undefined && reloaded !== live) this.#view = this.#enter(reloaded);
    this.#owed = 0;
    this.#lost = undefined;
    if (isRenewed && !(await this.#moveOn())) throw goneError();
  }

  // --- what the session asks for ----------------------------------------------------------------------------------

  get view(): SessionView {
    return this.#view;
  }

  get isNew(): boolean {
    return this.#start.isFound !== true;
  }

  get isLocked(): boolean {
    return this.#lock?.id === this.#view.live.identity.id && this.#lock.lock.isHeld;
  }

  /** Asked for twice at once, it is waited for once: nobody waits for their own lock. */
  lock(): Promise<void> {
    this.#takingLock ??= this.#waitForLock(this.#commits).finally(() => {
      this.#takingLock = undefined;
    });
    return this.#takingLock;
  }

  async release(): Promise<void> {
    await this.#lock?.lock.release();
  }

  get cookieMaxAgeMs(): number | undefined {
    return this.#cookieMaxAgeMs;
  }

  set cookieMaxAgeMs(ms: number | undefined) {
    this.#cookieMaxAgeMs = ms;
    this.#renewCookie = true;
  }

  setIdleTimeoutMs(ms: number): void {
    const { live } = this.#view;
    live.idleTimeoutMs = ms;
    this.#hasChanged = true;
    if (live.announced) this.#owed = live.changes;
  }

  touch(): void {
    this.#renewCookie = true;
  }

  async save(): Promise<void> {
    const { error } = await this.commit({ keepLease: true });
    if (error !== undefined) throw error;
  }
}

function pick(table: AttributeTable, keep: KeptAttributes): AttributeTable {
  if (keep === "all" || keep === "none") return table;
  return new Map([...table].filter(([name]) => keep.includes(name)));
}
