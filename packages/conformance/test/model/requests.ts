import { type Attributes, MsmError, type SessionExchange } from "@msm/core";
import { isAcked, type ModelSession, type Write } from "./ledger.js";
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
  readonly exchange: SessionExchange;
  session: ModelSession;
  /** Sessions that end with the next commit, as this request has given them a new id. */
  retired: ModelSession[];
  commitsUnderWay: number;
  headersSent: boolean;
  /** Its handler waits for a reload. */
  isReloading: boolean;
  /** The object of its own that it read earlier. */
  held: Tokens | undefined;
}

interface Tokens {
  tokens: string[];
}

/**
 * What requests do, and what they are told. Each request has an attribute `r…` and an object `o…` that no other writes;
 * all share `s0`, `s1` and `count`.
 */
export class Requests {
  readonly #world: World;
  #open: Request[] = [];
  /** Requests that were begun and have not ended, also those that have no session yet. */
  readonly #running = new Map<number, { readonly client: Client; readonly process: Process }>();
  #numbers = 0;
  #tokens = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Requests that have their session and are not ending yet. */
  get open(): readonly Request[] {
    return this.#open;
  }

  /** Whether a request of this user is under way. */
  isBusy(user: number): boolean {
    return [...this.#running.values()].some(({ client }) => client.user === user);
  }

  /** @returns undefined where the request was refused */
  async begin(client: Client, process: Process): Promise<Request | undefined> {
    const { ledger } = this.#world;
    const number = this.#numbers++;
    const begunAt = ledger.tick();
    const { cookie } = client;
    const known = cookie === undefined ? undefined : ledger.session(idOf(cookie));
    // The owner of a sticky session serves it from memory, and need not know yet that another process ended it.
    const knowsOfEnd = this.#world.setting.mode === "non-sticky" || known?.endedBy === process;
    const isGone = known !== undefined && known.goneAt < begunAt && knowsOfEnd;
    this.#tell(number, `of user ${client.user} comes to ${process.route} with ${cookie?.slice(0, 6)}`);
    this.#running.set(number, { client, process });
    try {
      const exchange = await this.#world.promised(
        `request ${number}`,
        process.manager.open(requestOf(cookie)),
      );
      const { session } = exchange;
      if (session === undefined || process.line.cut) return undefined;
      this.#tell(number, `has ${session.isNew ? "a new session" : "its session"} ${session.id.slice(0, 6)}`);
      this.#checkFound(session, known, process, isGone);
      const request: Request = {
        number,
        client,
        process,
        exchange,
        session: ledger.begin(session.id, client.user),
        retired: [],
        commitsUnderWay: 0,
        headersSent: false,
        isReloading: false,
        held: undefined,
      };
      // Whoever stored it, it is in this process' memory now.
      if (!session.isNew && this.#world.setting.mode === "sticky") request.session.keptBy ??= process;
      this.#open.push(request);
      return request;
    } catch (error) {
      this.#running.delete(number);
      this.#checkError(number, error, known);
      return undefined;
    }
  }

  /** Requests of a process that was killed: nobody hears of them any more. */
  forget(process: Process): void {
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
    const hasWritten = request.session.writes.some(
      (write) => write.name === name && write.request === request.number,
    );
    this.#note(request, { name, value: undefined, kind: "assigned", decisive: !hasWritten });
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

  /** Counts one up. Who counted is part of the value: two that count from the same number write different ones. */
  count(request: Request): void {
    const value = `${countOf(this.read(request, "count")) + 1} ${this.#newToken(request)}`;
    this.#tell(request.number, `count = ${value}`);
    this.#note(request, { name: "count", value: 1, kind: "counted" });
    attributesOf(request).count = value;
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
    const { outcome, error } = await this.#world.promised(
      `commit of ${request.number}`,
      request.exchange.commit(),
    );
    request.commitsUnderWay--;
    if (request.process.line.cut) return false;
    this.#tell(request.number, `is told: ${outcome} ${error?.code ?? ""}`);

    if (outcome === "failed") this.#checkError(request.number, error, session);
    if (outcome === "discarded" && !session.endBegun && !request.session.endBegun)
      this.#violated(request, "was told that its session is destroyed, which nobody did");
    if (outcome === "failed" || outcome === "discarded") return false;
    const isKept = outcome === "kept" || this.#isAsync;
    if (outcome === "stored" && !isKept && session.goneAt < begunAt && session === request.session)
      this.#violated(request, "stored a session that was destroyed");
    this.#acknowledge(covered, isKept);
    if (outcome !== "unneeded" || leavesAny(covered)) this.#noteStored(request, session, isKept);
    request.retired = request.retired.filter((former) => !retired.includes(former));
    for (const former of retired) former.endedBy = request.process;
    return true;
  }

  async save(request: Request): Promise<void> {
    const { session } = request;
    const covered = this.#sendWrites(request);
    for (const former of request.retired) former.endBegun = true;
    const saving = request.exchange.session?.save() ?? Promise.resolve();
    request.commitsUnderWay++;
    try {
      await this.#world.promised(`save() of ${request.number}`, saving);
      // Where it was destroyed, nothing was saved.
      if (request.process.line.cut || session.endBegun) return;
      const mayBeKept = this.#world.setting.mode === "sticky";
      this.#acknowledge(covered, mayBeKept);
      if (leavesAny(covered)) this.#noteStored(request, session, mayBeKept);
    } catch (error) {
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
    const ended = [request.session, ...request.retired];
    for (const session of ended) session.endBegun = true;
    request.retired = [];
    request.held = undefined;
    // A commit that comes before the end of it may still store them, for a moment.
    for (const write of this.#writesOf(request)) if (!isAcked(write.state)) write.state = "unsure";
    this.#tell(request.number, "destroys its session");
    const destroying = request.exchange.session?.destroy() ?? Promise.resolve();
    const [session, ...former] = ended as [ModelSession, ...ModelSession[]];
    try {
      await this.#world.promised(`destroy() of ${request.number}`, destroying);
      if (request.process.line.cut) return;
      this.#tell(request.number, "has destroyed its session");
      // Where there are several nodes, the one in trouble may not have taken the tombstone yet.
      if (this.#world.network.nodes.length === 1) session.goneAt = this.#world.ledger.tick();
      for (const gone of [session, ...former]) gone.endedBy = request.process;
    } catch (error) {
      if (request.process.line.cut) return;
      this.#checkError(request.number, error, session);
      session.endedBy = request.process;
    }
  }

  async reload(request: Request): Promise<void> {
    // What it would give up and what not, nobody could say.
    if (request.commitsUnderWay > 0 || this.#sharesValues(request)) return;
    this.#tell(request.number, "reloads");
    const reloading = request.exchange.session?.reload() ?? Promise.resolve();
    request.isReloading = true;
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
      request.isReloading = false;
    }
  }

  async regenerate(request: Request, keep: "all" | "none"): Promise<void> {
    const { session } = request.exchange;
    if (session === undefined || request.headersSent || request.commitsUnderWay > 0) return;
    const { ledger } = this.#world;
    const former = request.session;
    const seen: Record<string, unknown> = keep === "all" ? { ...session.attributes } : {};
    this.#tell(request.number, `gives its session a new id, keeping ${keep}`);
    const regenerating = session.regenerate({ keep });
    if (this.#sharesValues(request)) former.endBegun = true;
    this.#giveUpWrites(request);
    request.session = ledger.begin(session.id, request.client.user);
    request.retired = [...request.retired, former];
    for (const [name, value] of Object.entries(seen)) this.#inherit(request, former, name, value);
    if (keep === "all" && this.#world.setting.mode === "sticky") this.#inheritUnseen(request, former);
    await this.#world.promised(`regenerate() of ${request.number}`, regenerating);
  }

  /** What the request saw goes on under the new id, but for what another one had assigned and not committed. */
  #inherit(request: Request, former: ModelSession, name: string, value: unknown): void {
    const isSure =
      this.#world.setting.mode === "non-sticky" ||
      former.writes.some(
        (write) => write.value === value && (write.request === request.number || isAcked(write.state)),
      );
    const state = isSure ? "open" : "unsure";
    if (name === "count") this.#note(request, { name, value: countOf(value), kind: "counted", state });
    else if (typeof value === "string") this.#note(request, { name, value, kind: "assigned", state });
    else
      for (const token of (value as Tokens).tokens)
        this.#note(request, { name, value: token, kind: "pushed" });
  }

  /** What another request deleted and did not commit goes on as well. */
  #inheritUnseen(request: Request, former: ModelSession): void {
    for (const { name, value, kind } of former.writes.filter((write) => write.kind === "assigned"))
      this.#note(request, { name, value, kind, state: "unsure" });
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
    if (idOf(value) !== session.id) this.#violated(request, "sends the cookie of another session");
    const isStored = session.stored || session.keptBy !== undefined || request.commitsUnderWay > 0;
    if (!isStored && !session.endBegun)
      this.#violated(request, "sends the cookie of a session that is not stored");
    this.#tell(
      request.number,
      `sends the cookie ${value.slice(0, 6)}…${value.slice(48, 52)}${routeOf(value)}`,
    );
    session.cookies.add(value);
    client.cookie = value;
  }

  #checkFound(
    found: { readonly id: string; readonly isNew: boolean },
    known: ModelSession | undefined,
    process: Process,
    isGone: boolean,
  ): void {
    if (known === undefined) return;
    if (found.isNew) {
      const mustBeThere = known.stored || known.keptBy === process;
      if (mustBeThere && !known.endBegun)
        this.#world.violated(`session ${known.id.slice(0, 6)} was taken for absent`);
      return;
    }
    if (found.id !== known.id) this.#world.violated("a request got another session than its cookie names");
    if (isGone) this.#world.violated(`session ${known.id.slice(0, 6)} was destroyed, and is found again`);
  }

  #checkError(number: number, error: unknown, session: ModelSession | undefined): void {
    const code = error instanceof MsmError ? error.code : String(error);
    this.#tell(number, `fails with ${error instanceof Error ? error.message : code}`);
    if (code.startsWith("MSM_ERR_STORAGE_") || session?.endBegun === true) return;
    if (code === "MSM_ERR_CONFLICT" && this.#world.setting.onConflict === "fail") return;
    if (code === "MSM_ERR_HEADERS_SENT") return;
    this.#world.violated(`request ${number} fails with ${error instanceof Error ? error.stack : code}`);
  }

  #note(
    request: Request,
    write: Pick<Write, "name" | "value" | "kind"> & Partial<Pick<Write, "decisive" | "state">>,
  ): void {
    // A commit that is under way may or may not contain it.
    const isSent = request.commitsUnderWay > 0;
    const { number, process } = request;
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
      write.state = "sent";
      write.sentAt = Math.min(write.sentAt, now);
    }
    return covered;
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
    for (const write of this.#writesOf(request)) {
      if (write.state === "open") write.state = "given up";
      if (write.state === "sent") write.state = "unsure";
    }
  }

  /** Requests of a sticky session share its values: what one takes back, others may have begun to change. */
  #sharesValues({ process, session, number }: Request): boolean {
    if (this.#world.setting.mode === "non-sticky") return false;
    return this.#open.some(
      (other) => other.number !== number && other.process === process && other.session === session,
    );
  }

  get #isAsync(): boolean {
    const { mode, backup } = this.#world.setting;
    return mode === "sticky" && backup === "async";
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

/** The number in a counter's value. */
const countOf = (value: unknown) => Number.parseInt(typeof value === "string" ? value : "0", 10);

const ownObject = (request: Request) => `o${request.number}`;

const idOf = (cookie: string) => cookie.slice(0, 48);

const routeOf = (cookie: string) => /\.\w+$/.exec(cookie)?.[0] ?? "";

const requestOf = (cookie: string | undefined) => ({
  method: "GET",
  url: "/",
  secure: false,
  cookieHeader: cookie === undefined ? undefined : `sid=${cookie}`,
});
