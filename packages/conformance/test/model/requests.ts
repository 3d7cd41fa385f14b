import { type Attributes, MsmError, type SessionExchange } from "@msm/core";
import { isAcked, type ModelSession, stateOf, type Write } from "./ledger.js";
import type { Process, World } from "./world.js";

/** A browser with one cookie. */
export interface Client {
  readonly user: number;
  cookie: string | undefined;
}

/** A request that has its session. */
export interface Request {
  readonly number: number;
  readonly client: Client;
  readonly process: Process;
  readonly exchange: Pick<SessionExchange, "session" | "commit" | "cookie" | "end">;
  session: ModelSession;
  /** Sessions that end with the next commit, as this request has given them a new id. */
  retired: ModelSession[];
  commitsUnderWay: number;
  headersSent: boolean;
  /** Its handler waits for a reload, or for the lock. */
  isWaiting: boolean;
  /** Whether it has, or had, its session to itself. */
  hasLocked: boolean;
  /** Whether it overwrites nothing, as it had a lock, be it under a former id. */
  isStrict: boolean;
  /** A commit is under way that lets the next one in. */
  isReleasing: boolean;
  /** The number from which it counts on. */
  countsFrom: number | undefined;
  /** The object of its own that it read earlier. */
  held: Tokens | undefined;
}

interface Tokens {
  tokens: string[];
}

/** How a request comes. */
interface Arrival {
  readonly url?: string;
  readonly lock?: boolean | undefined;
}

/** A request that was begun. */
interface Running {
  readonly user: number;
  readonly process: Process;
  /** What to call when its client goes away while it waits. */
  readonly leave: Set<() => void>;
  hasLeft: boolean;
  hasSession: boolean;
}

/** How long an id that was given up with grace leads to the session. */
const graceMs = 10_000;

/**
 * What requests do, and what they are told. Each request has an attribute `r…` and an object `o…` that no other writes;
 * all share `s0`, `s1` and `count`.
 */
export class Requests {
  readonly #world: World;
  #open: Request[] = [];
  /** Requests that were begun and have not ended, also those that have no session yet. */
  readonly #running = new Map<number, Running>();
  readonly #jobs = new Set<Request>();
  #numbers = 0;
  #tokens = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Requests that have their session and are not ending yet. */
  get open(): readonly Request[] {
    return this.#open;
  }

  /** Whether a request of this user is under way in another process. */
  isBusyElsewhere(user: number, process: Process): boolean {
    return [...this.#running.values()].some(
      (running) => running.user === user && running.process !== process,
    );
  }

  /** Whether any request or job is under way. */
  get areRunning(): boolean {
    return this.#running.size > 0;
  }

  /** @returns undefined where the request was refused */
  async begin(client: Client, process: Process, arrival: Arrival = {}): Promise<Request | undefined> {
    const { ledger, clock } = this.#world;
    const number = this.#numbers++;
    const begunAt = ledger.tick();
    const begunMs = clock.monotonicMs();
    const { leasesTaken } = process.line;
    const leave = new Set<() => void>();
    const { cookie } = client;
    const known = cookie === undefined ? undefined : ledger.session(idOf(cookie));
    // The owner of a sticky session serves it from memory, and need not know yet that another process ended it.
    const knowsOfEnd = this.#world.setting.mode === "non-sticky" || known?.endedBy === process;
    const isGone = known !== undefined && known.goneAt < begunAt && knowsOfEnd;
    this.#tell(number, `of user ${client.user} comes to ${process.route} with ${cookie?.slice(0, 6)}`);
    const running: Running = { user: client.user, process, leave, hasLeft: false, hasSession: false };
    this.#running.set(number, running);
    try {
      const exchange = await this.#world.promised(
        `request ${number}`,
        Promise.resolve(process.manager.open({ ...requestOf(cookie), ...arrivalOf(arrival, leave) })),
      );
      const { session } = exchange;
      if (session === undefined || process.line.cut) return undefined;
      this.#tell(number, `has ${session.isNew ? "a new session" : "its session"} ${session.id.slice(0, 6)}`);
      this.#checkFound(session, known, process, { isGone, begunMs });
      const request = newRequest({
        number,
        client,
        process,
        exchange,
        session: ledger.begin(session.id, client.user),
      });
      if (!session.isNew) this.#noteFound(request.session, process);
      this.#open.push(request);
      running.hasSession = true;
      this.#checkLock(request, leasesTaken);
      return request;
    } catch (error) {
      if (hasCode(error, "MSM_ERR_LOCK_TIMEOUT")) this.#checkLockTimeout(number, begunMs, "open");
      else this.#checkError(number, error, known);
      this.#running.delete(number);
      return undefined;
    }
  }

  /** The client of a request that waits for its session goes away. */
  leave(choice: number): void {
    const waiting = [...this.#running.values()].filter(({ leave }) => leave.size > 0);
    const running = waiting[choice % Math.max(1, waiting.length)];
    if (running === undefined) return;
    running.hasLeft = true;
    for (const leave of [...running.leave]) leave();
  }

  /** Work on a client's session that no request asks for: it writes an attribute of its own, and counts. */
  async work(client: Client, process: Process, lock: boolean | undefined): Promise<void> {
    const { cookie } = client;
    if (cookie === undefined) return;
    const known = this.#world.ledger.session(idOf(cookie));
    const number = this.#numbers++;
    const begunMs = this.#world.clock.monotonicMs();
    const { leasesTaken } = process.line;
    let job: Request | undefined;
    this.#tell(number, `is work on ${cookie.slice(0, 6)} in ${process.route}`);
    const running = {
      user: client.user,
      process,
      leave: new Set<() => void>(),
      hasLeft: false,
      hasSession: false,
    };
    this.#running.set(number, running);
    try {
      await this.#world.promised(
        `work ${number}`,
        process.manager.withSession(
          idOf(cookie),
          async (session) => {
            const exchange = { session, cookie: () => undefined, commit: neverCommits, end: async () => {} };
            const found = this.#world.ledger.begin(session.id, client.user);
            job = newRequest({ number, client, process, exchange, session: found });
            this.#jobs.add(job);
            running.hasSession = true;
            this.#tell(number, `has its session ${session.id.slice(0, 6)}`);
            this.#checkLock(job, leasesTaken);
            this.count(job, false);
            this.assign(job, `r${number}`);
            await this.#world.step(`work ${number} goes on`, process);
            this.count(job, false);
            if (!process.line.cut) this.#sendWrites(job);
            this.noteState(job);
            job.isReleasing = true;
          },
          lock === undefined ? {} : { lock },
        ),
      );
      if (job === undefined || process.line.cut) return;
      this.#tell(number, "is done");
      if (job.session.endBegun) return;
      const mayBeKept = this.#world.setting.mode === "sticky";
      this.#acknowledge(this.#writesOf(job), mayBeKept);
      this.#noteStored(job, job.session, mayBeKept);
    } catch (error) {
      if (process.line.cut) return;
      if (job !== undefined && hasCode(error, "MSM_ERR_CONFLICT")) this.#refuse(this.#writesOf(job));
      const isGone = known === undefined || !known.stored || known.endBegun;
      if (isGone && hasCode(error, "MSM_ERR_SESSION_GONE")) return;
      if (hasCode(error, "MSM_ERR_LOCK_TIMEOUT")) this.#checkLockTimeout(number, begunMs, "open");
      else this.#checkError(number, error, known);
    } finally {
      if (job !== undefined) this.#jobs.delete(job);
      this.#running.delete(number);
    }
  }

  /** Whoever stored it, it is in this process' memory now; or a node has it, though nobody was told so yet. */
  #noteFound(session: ModelSession, process: Process): void {
    const isSticky = this.#world.setting.mode === "sticky";
    session.stored ||= !isSticky || (session.keptBy !== undefined && session.keptBy !== process);
    if (isSticky) session.keptBy ??= process;
  }

  /** Requests of a process that was killed: nobody hears of them any more. */
  forget(process: Process): void {
    for (const job of this.#jobs) if (job.process === process) this.#jobs.delete(job);
    this.#open = this.#open.filter((request) => request.process !== process);
    for (const [number, running] of this.#running)
      if (running.process === process) this.#running.delete(number);
  }

  read(request: Request, name: string): unknown {
    const value: unknown = attributesOf(request)[name];
    try {
      this.#world.ledger.checkSeen(request.session, request.number, name, value);
    } catch (error) {
      this.#violated(request, String(error));
    }
    return value;
  }

  readAll(request: Request): void {
    // Who lists the attributes has read them all: a number that was read before may not be counted on from then.
    if (request.countsFrom !== undefined) return;
    for (const name of Object.keys(attributesOf(request))) this.read(request, name);
  }

  assign(request: Request, name: string): void {
    const value = this.#newToken(request);
    this.#tell(request.number, `${name} = ${value}`);
    this.#note(request, { name, value, kind: "assigned" });
    attributesOf(request)[name] = value;
  }

  delete(request: Request, name: string): void {
    if (!(name in attributesOf(request))) return;
    this.#tell(request.number, `deletes ${name}`);
    const own = request.session.writes.filter(
      (write) => write.name === name && write.request === request.number,
    );
    for (const write of own) if (write.state === "open") write.decisive = false;
    this.#note(request, { name, value: undefined, kind: "assigned", decisive: own.length === 0 });
    delete attributesOf(request)[name];
  }

  /** Reads the request's own object, for a later change in place. */
  hold(request: Request): void {
    request.held ??= this.read(request, ownObject(request)) as Tokens | undefined;
  }

  /** Puts a token into an object, in place where it is there. */
  push(request: Request, { name = ownObject(request), reads = true } = {}): void {
    const value = this.#newToken(request);
    const object = reads ? undefined : request.held;
    this.#tell(request.number, `pushes ${value} into ${name}${object === undefined ? "" : ", read before"}`);
    const current = object ?? (this.read(request, name) as Tokens | undefined);
    this.#note(request, { name, value, kind: "pushed" });
    if (current === undefined) attributesOf(request)[name] = { tokens: [value] };
    else current.tokens.push(value);
  }

  /** Counts one up: at once, or by reading now, and writing with the next call. */
  count(request: Request, atOnce: boolean): void {
    if (!this.#mayCount(request)) return;
    const from = request.countsFrom;
    if (from === undefined) {
      const count = Number(this.read(request, "count") ?? 0);
      request.countsFrom = count;
      this.#tell(request.number, `reads count ${count}`);
      if (!atOnce && !this.#mustCountAtOnce) return;
    }
    const value = (request.countsFrom ?? 0) + 1;
    request.countsFrom = undefined;
    this.#tell(request.number, `count = ${value}`);
    this.#note(request, { name: "count", value: 1, kind: "counted" });
    attributesOf(request).count = value;
  }

  /** Under "last-write-wins" only those count who lock: they overwrite nothing. */
  #mayCount({ hasLocked }: Request): boolean {
    const { locking, onConflict } = this.#world.setting;
    return onConflict === "fail" || locking === "auto" || !["all", "app"].includes(locking) || hasLocked;
  }

  /** Without anything that would tell of a conflict, nobody may think in between. */
  get #mustCountAtOnce(): boolean {
    const { locking, onConflict } = this.#world.setting;
    return locking === "optimistic" && onConflict === "last-write-wins";
  }

  async lock(request: Request): Promise<void> {
    const { session } = request;
    const { clock } = this.#world;
    const begunMs = clock.monotonicMs();
    const { leasesTaken } = request.process.line;
    if (request.exchange.session?.isLocked === true) return;
    session.wasChangedUnlocked = true; // what it read before, it may change after
    this.#tell(request.number, "wants the lock");
    const locking = request.exchange.session?.lock() ?? Promise.resolve();
    request.isWaiting = true;
    try {
      await this.#world.promised(`lock() of ${request.number}`, locking);
      this.#tell(request.number, "has the lock");
      this.#follow(request);
      if (this.#open.includes(request)) this.#checkLock(request, leasesTaken);
    } catch (error) {
      if (request.process.line.cut) return;
      const isNew = !session.stored || session.endBegun;
      if (isNew && hasCode(error, "MSM_ERR_SESSION_GONE")) return;
      if (hasCode(error, "MSM_ERR_LOCK_TIMEOUT")) this.#checkLockTimeout(request.number, begunMs, "lock()");
      else this.#checkError(request.number, error, session);
    } finally {
      request.isWaiting = false;
    }
  }

  async release(request: Request): Promise<void> {
    this.#tell(request.number, "releases");
    const releasing = request.exchange.session?.release() ?? Promise.resolve();
    await this.#world.promised(`release() of ${request.number}`, releasing);
  }

  /** @returns whether the client may be told of success */
  async commit(request: Request): Promise<boolean> {
    const { ledger } = this.#world;
    const { session, retired } = request;
    const begunAt = ledger.tick();
    const covered = this.#sendWrites(request);
    for (const former of retired) former.endBegun = true;
    this.#tell(request.number, "commits");

    request.commitsUnderWay++;
    request.isReleasing = true;
    const begunMs = this.#world.clock.monotonicMs();
    const { outcome, error } = await this.#world.promised(
      `commit of ${request.number}`,
      Promise.resolve(request.exchange.commit()),
    );
    request.commitsUnderWay--;
    request.isReleasing = request.commitsUnderWay > 0;
    if (request.process.line.cut) return false;
    this.#tell(request.number, `is told: ${outcome} ${error?.code ?? ""}`);

    if (outcome === "failed") this.#checkError(request.number, error, session);
    if (hasCode(error, "MSM_ERR_CONFLICT")) this.#refuse(covered);
    this.#follow(request);
    this.noteState(request);
    if (outcome === "discarded" && isTooLate(retired)) session.endBegun = true;
    // LIMIT: a renewal whose end is lost, and then its answer, may meet its own end and take it for another's.
    const isLost = retired.length > 0 && this.#world.hasHadTrouble;
    if (outcome === "discarded" && isLost) request.session.endBegun = true;
    if (outcome === "discarded" && !session.endBegun && !request.session.endBegun)
      this.#violated(request, "was told that its session is destroyed, which nobody did");
    if (outcome === "discarded") giveWay(covered);
    if (outcome === "failed" || outcome === "discarded") return false;
    const isKept = outcome === "kept" || this.#isAsync;
    const isHandedOn = session.successor !== undefined;
    if (
      outcome === "stored" &&
      !isKept &&
      !isHandedOn &&
      session.goneAt < begunAt &&
      session === request.session
    )
      this.#violated(request, "stored a session that was destroyed");
    this.#acknowledge(covered, isKept);
    if (outcome !== "unneeded" || leavesAny(covered)) this.#noteStored(request, request.session, isKept);
    this.#noteRenewed(request, retired, { begunMs, isKept });
    return true;
  }

  async save(request: Request): Promise<void> {
    const { session, retired } = request;
    const covered = this.#sendWrites(request);
    for (const former of retired) former.endBegun = true;
    this.#tell(request.number, "saves");
    const begunMs = this.#world.clock.monotonicMs();
    const saving = request.exchange.session?.save() ?? Promise.resolve();
    request.commitsUnderWay++;
    try {
      await this.#world.promised(`save() of ${request.number}`, saving);
      if (request.process.line.cut) return;
      this.#tell(request.number, "has saved");
      this.#follow(request);
      this.noteState(request);
      if (isTooLate(retired)) session.endBegun = true;
      // Where it was destroyed, nothing was saved.
      if (session.endBegun && session.successor === undefined) return;
      const isKept = this.#world.setting.mode === "sticky";
      this.#acknowledge(covered, isKept);
      if (leavesAny(covered) || isStoredAnew(request.session, retired))
        this.#noteStored(request, request.session, isKept);
      this.#noteRenewed(request, retired, { begunMs, isKept });
    } catch (error) {
      if (hasCode(error, "MSM_ERR_CONFLICT")) this.#refuse(covered);
      this.#checkError(request.number, error, session);
    } finally {
      request.commitsUnderWay--;
    }
  }

  /** A response whose headers go out before it ends. */
  async sendHeaders(request: Request): Promise<void> {
    request.headersSent = true;
    if (await this.commit(request)) this.#takeCookie(request);
  }

  /** Answers the request. */
  async finish(request: Request): Promise<void> {
    this.#open = this.#open.filter((other) => other !== request);
    const isDone = await this.commit(request);
    if (request.process.line.cut) return;
    if (isDone || request.session.endBegun) this.#takeCookie(request);
    else if (!request.headersSent && request.exchange.cookie() !== undefined)
      this.#violated(request, "failed, and sends a cookie all the same");
    await this.#end(request);
  }

  /** The client has gone, or the handler gave up: nothing is committed. */
  async abort(request: Request): Promise<void> {
    this.#open = this.#open.filter((other) => other !== request);
    this.#tell(request.number, "ends without a commit");
    await this.#end(request);
  }

  async destroy(request: Request): Promise<void> {
    const { session, retired } = request;
    for (const ended of [session, ...retired]) endWithSuccessors(ended);
    request.retired = [];
    request.held = undefined;
    request.countsFrom = undefined;
    // A commit that comes before the end of it may still store them, for a moment.
    for (const write of this.#writesOf(request)) if (!isAcked(write.state)) write.state = "unsure";
    this.#tell(request.number, "destroys its session");
    const destroying = request.exchange.session?.destroy() ?? Promise.resolve();
    try {
      await this.#world.promised(`destroy() of ${request.number}`, destroying);
      if (request.process.line.cut) return;
      this.#tell(request.number, "has destroyed its session");
      // Where there are several nodes, the one in trouble may not have taken the tombstone yet.
      if (this.#world.network.nodes.length === 1) session.goneAt = this.#world.ledger.tick();
      for (const ended of [session, ...retired]) ended.endedBy = request.process;
    } catch (error) {
      if (request.process.line.cut) return;
      this.#checkError(request.number, error, session);
      session.endedBy = request.process;
    }
  }

  async reload(request: Request): Promise<void> {
    // What it would give up and what not, nobody could say.
    if (request.commitsUnderWay > 0) return;
    if (this.#world.setting.mode === "sticky") {
      // LIMIT: a new session that no node took stays in the process' memory, and the client hears of it.
      if (!request.session.stored) return;
      // LIMIT: an object that was changed in place comes back with another request that holds it as well.
      if (this.#writesOf(request).some(({ kind, state }) => kind === "pushed" && state === "open")) return;
    }
    this.#tell(request.number, "reloads");
    const reloading = request.exchange.session?.reload() ?? Promise.resolve();
    request.isWaiting = true;
    try {
      await this.#world.promised(`reload() of ${request.number}`, reloading);
      this.#giveUpWrites(request);
      this.#tell(request.number, "has reloaded");
    } catch (error) {
      if (request.process.line.cut) return;
      const isNew = !request.session.stored || request.session.endBegun;
      if (isNew && error instanceof MsmError && error.code === "MSM_ERR_SESSION_GONE") return;
      this.#checkError(request.number, error, request.session);
    } finally {
      request.isWaiting = false;
    }
  }

  /**
   * Gives the session a new id. Where all attributes are kept, what is saved under the old one before its end goes along; with
   * grace, also what is written later.
   */
  async regenerate(request: Request, keep: "all" | "none", grace: boolean): Promise<void> {
    const { session } = request.exchange;
    const former = request.session;
    if (session === undefined || request.headersSent || request.commitsUnderWay > 0 || former.endBegun)
      return;
    // Of two that renew the same session, the later one goes on with what the other one made of it.
    if (former.renewals > 0 && (grace || former.successor !== undefined)) return;
    this.#tell(request.number, `gives its session a new id, keeping ${keep}${grace ? ", with grace" : ""}`);
    former.renewals++;
    // Another request that holds an object takes back into the old one what this one takes along.
    if (!session.isLocked || this.#world.setting.mode === "sticky") former.wasChangedUnlocked = true;
    if (keep === "none") this.#giveUpWrites(request);
    const isRenewed = await this.#regenerated(request, session.regenerate({ keep, grace }));
    if (request.process.line.cut) return;
    if (!isRenewed) {
      former.renewals--;
      return;
    }
    const { user } = request.client;
    const next = this.#world.ledger.begin(session.id, user, keep === "all" ? former : undefined);
    if (grace) former.successor = next;
    // An id that nobody knows yet, and that is given up at once, leads nowhere: nor do those that would lead to it.
    else
      for (const earlier of request.retired) if (earlier.successor === former) earlier.successor = undefined;
    this.#goOver(request, next);
    request.retired = [...request.retired, former];
  }

  /** Its handler waits until the session has its new id. @returns false where what was to be kept gave way in a conflict */
  async #regenerated(request: Request, regenerating: Promise<void>): Promise<boolean> {
    request.isWaiting = true;
    try {
      await this.#world.promised(`regenerate() of ${request.number}`, regenerating);
      return true;
    } catch (error) {
      if (!request.process.line.cut) this.#checkError(request.number, error, request.session);
      return false;
    } finally {
      request.isWaiting = false;
    }
  }

  async #end(request: Request): Promise<void> {
    for (const write of this.#writesOf(request)) if (write.state === "open") write.state = "given up";
    await this.#world.promised(`end() of ${request.number}`, request.exchange.end());
    this.#running.delete(request.number);
  }

  #takeCookie(request: Request): void {
    const { client, exchange, session } = request;
    const setCookie = exchange.cookie();
    if (setCookie === undefined) return;
    const value = /^sid=([^;]*)/.exec(setCookie)?.[1] ?? "";
    if (value === "") {
      if (!session.endBegun && session.stored)
        this.#violated(request, "clears the cookie of a session that nobody destroyed");
      client.cookie = undefined;
      return;
    }
    const named = successorsOf(session).find(({ id }) => id === idOf(value));
    if (named === undefined) this.#violated(request, "sends the cookie of another session");
    const isStored = session.stored || session.keptBy !== undefined || request.commitsUnderWay > 0;
    // A process stores in the background what it could not store with the request.
    const isTriedAgain = session.isRenewal && this.#world.hasHadTrouble;
    // A commit that waited for another one takes what was written meanwhile along.
    const isTakenAlong = this.#writesOf(request).some(({ state }) => state === "sent");
    if (!isStored && !isTakenAlong && !session.endBegun && !isTriedAgain)
      this.#violated(request, "sends the cookie of a session that is not stored");
    this.#tell(
      request.number,
      `sends the cookie ${value.slice(0, 6)}…${value.slice(48, 52)}${routeOf(value)}`,
    );
    const { cookies } = named ?? session;
    cookies.delete(value); // the newest is the last
    cookies.add(value);
    client.cookie = value;
  }

  #checkFound(
    found: { readonly id: string; readonly isNew: boolean },
    known: ModelSession | undefined,
    process: Process,
    { isGone, begunMs }: { readonly isGone: boolean; readonly begunMs: number },
  ): void {
    if (known === undefined) return;
    if (found.isNew) {
      const mustBeThere = known.stored || known.keptBy === process;
      if (mustBeThere && !known.endBegun)
        this.#world.violated(`session ${known.id.slice(0, 6)} was taken for absent`);
      if (this.#mustLeadOn(known))
        this.#world.violated(`the former id ${known.id.slice(0, 6)} leads nowhere`);
      return;
    }
    if (!successorsOf(known).some(({ id }) => id === found.id))
      this.#world.violated("a request got another session than its cookie names");
    if (found.id !== known.id && begunMs > (known.leadsUntilMs ?? Number.POSITIVE_INFINITY))
      this.#world.violated(`the former id ${known.id.slice(0, 6)} still leads to the session`);
    if (isGone && found.id === known.id)
      this.#world.violated(`session ${known.id.slice(0, 6)} was destroyed, and is found again`);
  }

  /** Whether a former id must lead to the session now. */
  #mustLeadOn({ successor, endedBy, renewedMs }: ModelSession): boolean {
    if (successor === undefined || endedBy === undefined || renewedMs === undefined) return false;
    const isThere = successor.stored && !successor.endBegun;
    return isThere && !this.#world.hasHadTrouble && this.#world.clock.monotonicMs() < renewedMs + graceMs;
  }

  /** Who has a session to itself has it alone. */
  #checkLock(request: Request, leasesTakenBefore: number): void {
    const { session, process, exchange } = request;
    if (exchange.session?.isLocked !== true) return;
    request.hasLocked = true;
    request.isStrict = true;
    session.wasLocked = true;
    if (this.#world.setting.mode === "non-sticky" && process.line.leasesTaken === leasesTakenBefore)
      this.#violated(request, "has a lock that no node gave");
    for (const other of [...this.#open, ...this.#jobs]) {
      const isSame = other !== request && other.session === session && !other.isReleasing;
      if (!isSame || other.exchange.session?.isLocked !== true) continue;
      if (
        other.process === process ||
        (this.#world.setting.mode === "non-sticky" && !this.#world.hasHadTrouble)
      )
        this.#violated(request, `has its session to itself, as request ${other.number} has`);
    }
  }

  #checkLockTimeout(number: number, begunMs: number, what: "open" | "lock()"): void {
    const { lockTimeoutMs, onLockTimeout } = this.#world.setting;
    this.#tell(number, "waited too long");
    if (what === "open" && onLockTimeout === "optimistic")
      this.#world.violated(`request ${number} was refused, though it may go on without a lock`);
    if (this.#world.clock.monotonicMs() < begunMs + lockTimeoutMs)
      this.#world.violated(`request ${number} was refused before its time`);
  }

  #checkError(number: number, error: unknown, session: ModelSession | undefined): void {
    const code = error instanceof MsmError ? error.code : String(error);
    this.#tell(number, `fails with ${error instanceof Error ? error.message : code}`);
    if (code.startsWith("MSM_ERR_STORAGE_") || session?.endBegun === true) return;
    if (code === "MSM_ERR_CONFLICT" && this.#mayBeInConflict(session)) return;
    if (code === "MSM_ERR_HEADERS_SENT") return;
    if (code === "MSM_ERR_ABORTED" && this.#running.get(number)?.hasLeft === true) return;
    this.#world.violated(`request ${number} fails with ${error instanceof Error ? error.stack : code}`);
  }

  #mayBeInConflict(session: ModelSession | undefined): boolean {
    const { onConflict, locking, mode, processes } = this.#world.setting;
    const reachesAll = mode === "non-sticky" || processes === 1;
    const mayBeAlone =
      locking === "all" && reachesAll && !this.#world.hasHadTrouble && !this.#world.hasLostLocks;
    if (mayBeAlone && session?.wasChangedUnlocked === false) return false;
    // A lock that was had under the former id counts under the new one.
    const wasLocked = session === undefined || session.wasLocked || session.isRenewal;
    return onConflict === "fail" || locking === "auto" || wasLocked;
  }

  #note(
    request: Request,
    write: Pick<Write, "name" | "value" | "kind"> & Partial<Pick<Write, "decisive" | "state">>,
  ): void {
    // A commit that is under way may or may not contain it.
    const isSent = request.commitsUnderWay > 0;
    const { number, process, exchange, session } = request;
    if ((exchange.session?.isLocked !== true || request.isReleasing) && exchange.session?.isNew !== true)
      session.wasChangedUnlocked = true;
    const noted = this.#world.ledger.write(request.session, { ...write, request: number, process });
    if (!isSent || noted.state !== "open") return;
    noted.state = "sent";
    noted.sentAt = noted.madeAt;
  }

  #writesOf(request: Request): Write[] {
    return request.session.writes.filter((write) => write.request === request.number);
  }

  /** @returns the writes that the commit which begins now contains */
  #sendWrites(request: Request): Write[] {
    const now = this.#world.ledger.tick();
    const covered = this.#writesOf(request).filter(({ state }) => state === "open" || state === "sent");
    for (const write of covered) {
      write.mayBeOut ||= write.state === "sent";
      write.state = "sent";
      write.sentAt = Math.min(write.sentAt, now);
    }
    return covered;
  }

  /** Its client was told that nothing of it is stored; what an earlier commit may have stored, nobody knows. */
  #refuse(covered: readonly Write[]): void {
    // A node may carry a save out much later, and another request go on from that, while the save is tried elsewhere.
    for (const session of this.#world.ledger.sessions)
      if (session.writes.some((write) => covered.includes(write))) session.wasRefused = true;
    const isUnsure = this.#world.hasHadTrouble && this.#world.network.nodes.length > 1;
    for (const write of covered) {
      if (write.state === "sent" || write.state === "open")
        write.state = isUnsure || write.mayBeOut ? "unsure" : "refused";
    }
  }

  /** The session may have got a new id from another request, and this one went along. */
  #follow(request: Request): void {
    const { id } = request.exchange.session ?? request.session;
    const session = successorsOf(request.session).find((successor) => successor.id === id);
    if (session !== undefined && session !== request.session) this.#goOver(request, session);
  }

  /** Under its new id, the request has the session no longer to itself, and overwrites nothing there all the same. */
  #goOver(request: Request, session: ModelSession): void {
    request.session = session;
    session.wasLocked ||= request.isStrict;
    request.held = undefined;
    request.hasLocked = false;
    request.countsFrom = undefined;
  }

  #noteRenewed(
    request: Request,
    retired: readonly ModelSession[],
    { begunMs, isKept }: { readonly begunMs: number; readonly isKept: boolean },
  ): void {
    request.retired = request.retired.filter((former) => !retired.includes(former));
    for (const former of retired) {
      former.endedBy = request.process;
      former.renewedMs = begunMs;
      former.leadsUntilMs = this.#world.clock.monotonicMs() + graceMs;
      const isOver = !isKept && !this.#world.hasHadTrouble && former.successor === undefined;
      if (isOver) former.goneAt = this.#world.ledger.tick();
    }
  }

  #acknowledge(covered: readonly Write[], isKept: boolean): void {
    const now = this.#world.ledger.tick();
    for (const write of covered) {
      if (write.state !== "sent") continue;
      write.state = isKept ? "kept" : "acked";
      write.wasKept ||= isKept;
      write.ackedAt = now;
    }
  }

  #noteStored(request: Request, session: ModelSession, isKept: boolean): void {
    if (isKept) session.keptBy = request.process;
    else session.stored = true;
  }

  #giveUpWrites(request: Request): void {
    request.held = undefined;
    request.countsFrom = undefined;
    for (const write of this.#writesOf(request)) {
      if (write.state === "open") write.state = "given up";
      if (write.state === "sent") write.state = "unsure";
    }
  }

  get #isAsync(): boolean {
    const { mode, backup } = this.#world.setting;
    return mode === "sticky" && backup === "async";
  }

  /** Under "none", what a request has now may be saved as a whole, by this commit or one that waits already. */
  noteState(request: Request): void {
    if (this.#world.setting.locking === "none") request.session.states.add(stateOf(attributesOf(request)));
  }

  #newToken(request: Request): string {
    return `user${request.client.user}.${request.number}.${this.#tokens++}`;
  }

  #tell(number: number, line: string): void {
    this.#world.tell(`request ${number} ${line}`);
  }

  #violated(request: Request, what: string): void {
    this.#world.violated(`request ${request.number} ${what}`);
  }
}

/** What a request finds in its session. */
export const attributesOf = (request: Request): Attributes => request.exchange.session?.attributes ?? {};

/** Whether a session that is new has attributes by these writes. */
const leavesAny = (writes: readonly Write[]) =>
  writes.some(
    ({ name, value, madeAt }) =>
      value !== undefined &&
      !writes.some((other) => other.name === name && other.value === undefined && other.madeAt > madeAt),
  );

function newRequest(start: Pick<Request, "number" | "client" | "process" | "exchange" | "session">): Request {
  return {
    ...start,
    retired: [],
    commitsUnderWay: 0,
    headersSent: false,
    isWaiting: false,
    hasLocked: false,
    isStrict: false,
    isReleasing: false,
    countsFrom: undefined,
    held: undefined,
  };
}

/** A session, and what it became with its new ids. */
function successorsOf(session: ModelSession): ModelSession[] {
  return [session, ...(session.successor === undefined ? [] : successorsOf(session.successor))];
}

function endWithSuccessors(session: ModelSession): void {
  session.wasDestroyed = true;
  for (const ended of successorsOf(session)) ended.endBegun = true;
}

/** Another request had ended it, or given it a new id, before this one could. */
const isTooLate = (retired: readonly ModelSession[]) =>
  retired.some(({ wasDestroyed, renewals }) => wasDestroyed || renewals > 1);

/** Its session had ended: no later success is about these. */
function giveWay(covered: readonly Write[]): void {
  for (const write of covered) if (write.state === "sent") write.state = "unsure";
}

/** Whether a session is stored as it has all attributes of one that was, under one former id or under several. */
function isStoredAnew(session: ModelSession, retired: readonly ModelSession[]): boolean {
  const former = retired.at(-1);
  if (!session.isRenewal || former === undefined) return false;
  const isKnown = former.stored || former.keptBy !== undefined;
  return isKnown || isStoredAnew(former, retired.slice(0, -1));
}

const hasCode = (error: unknown, code: string) => error instanceof MsmError && error.code === code;

const neverCommits = async () => ({ outcome: "unneeded" }) as const;

function arrivalOf({ url = "/", lock }: Arrival, leave: Set<() => void>) {
  const onClose = (listener: () => void) => {
    leave.add(listener);
    return () => leave.delete(listener);
  };
  return { url, onClose, ...(lock === undefined ? {} : { lock }) };
}

const ownObject = (request: Request) => `o${request.number}`;

const idOf = (cookie: string) => cookie.slice(0, 48);

const routeOf = (cookie: string) => /\.\w+$/.exec(cookie)?.[0] ?? "";

const requestOf = (cookie: string | undefined) => ({
  method: "GET",
  url: "/",
  secure: false,
  cookieHeader: cookie === undefined ? undefined : `sid=${cookie}`,
});
