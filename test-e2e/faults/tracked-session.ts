import { pause } from "@msm/conformance";
import type { FinalState, Operation, OperationKind, Outcome, Reply } from "../history/operation.js";
import { askWorker, type HttpAnswer } from "../processes/http-answer.js";
import type { App } from "./bench.js";
import type { Population } from "./population.js";
import { readCookie, sessionCookieIn } from "./session-cookie.js";

/** What is asked of a handler, beside what it always does. */
export interface AskOptions {
  /** Milliseconds between reading the session and writing it. */
  readonly thinkMs?: number;
  /** Milliseconds for which the whole process stands still, between reading and writing. */
  readonly blockMs?: number;
  /** Whether the process is to tell when the handler runs. Default false. */
  readonly tells?: boolean;
  /** Where it is sent. Default: where the balancer sends it. */
  readonly via?: App | undefined;
  /** After so many milliseconds without an answer the client goes away. Default 15,000. */
  readonly patienceMs?: number;
}

/** An operation under way. */
export interface Asked {
  readonly id: string;
  /** Undefined where no process was in rotation. */
  readonly app: App | undefined;
  /** Resolves when the ledger has it. Never rejects. */
  readonly answered: Promise<Operation>;
}

/** How a session stands with its user. */
export type Standing =
  /** It is there, or so its user must be able to believe. */
  | "live"
  /** It was logged out, and that was acknowledged. */
  | "ended"
  /** It never began, or a request that would end it was answered with an error: it may be there or not. */
  | "uncertain";

/** Longer than any request may take. */
const usualPatienceMs = 15_000;

/** Errors that say for sure that nothing came of the request. */
const refusals = new Set(["MSM_ERR_CONFLICT", "MSM_ERR_LOCK_TIMEOUT", "MSM_ERR_LOCK_QUEUE_FULL"]);

/** A session as its user has it: one browser with one cookie, and with many tabs. */
export class TrackedSession {
  /** What the handlers find in it, and the first part of its operations' ids. */
  readonly name: string;
  standing: Standing = "uncertain";
  /** A log-in was answered with an error: the old cookie may lead to nothing any more. */
  mayBeGone = false;
  /** Since when its user has the session id that the cookie bears; monotonic milliseconds. */
  sinceMs = 0;
  /** When it was served; monotonic milliseconds. */
  readonly usedMs: number[] = [];
  /** How often the cookie got another node, and another process. */
  relocations = 0;
  moves = 0;
  readonly #population: Population;
  #cookie: string | undefined;
  #asked = 0;
  #open = new Set<Promise<unknown>>();
  #isChanging = false;
  #isRenewing = false;

  constructor(name: string, population: Population) {
    this.name = name;
    this.#population = population;
  }

  /** The cookie that the next request sends; undefined before the session began. */
  get cookie(): string | undefined {
    return this.#cookie;
  }

  /** The session id. @throws Error before the session began */
  get id(): string {
    return readCookie(this.#cookie ?? "").id;
  }

  /** True where a request that may give it another id, or end it, is under way: others would have to wait. */
  get isChanging(): boolean {
    return this.#isChanging;
  }

  /** True where no request is under way. */
  get isQuiet(): boolean {
    return this.#open.size === 0;
  }

  /** The process that the balancer chooses now. */
  app(): App | undefined {
    const route = this.#cookie === undefined ? undefined : readCookie(this.#cookie).route;
    return this.#population.bench.balancer.appFor(route);
  }

  /** Makes the session. @returns whether that was acknowledged */
  async begin({ fillBytes = 0, via }: { fillBytes?: number; via?: App } = {}): Promise<boolean> {
    const path = `/begin?session=${this.name}&fillBytes=${fillBytes}`;
    const answer = await this.#send(via ?? this.app(), "POST", path, "begin");
    const cookie = isGood(answer) ? sessionCookieIn(answer.setCookies) : undefined;
    if (cookie === undefined) return false;
    this.#cookie = cookie;
    this.sinceMs = performance.now();
    this.standing = "live";
    return true;
  }

  /** Sends an operation; the ledger gets what comes of it. */
  ask(kind: OperationKind, options: AskOptions = {}): Asked {
    this.#asked += 1;
    const app = options.via ?? this.app();
    const id = `${this.name}:${app?.name ?? "nobody"}:${this.#asked}`;
    return { id, app, answered: this.#noteOpen(this.#operate(app, kind, id, options)) };
  }

  /** The user logs in: the session gets a new id, and the old one is dead at once. @returns what was answered */
  async login(via = this.app()): Promise<HttpAnswer> {
    const before = this.#cookie!;
    return this.#change(via, "login", (answer) => {
      if (isGood(answer)) {
        if (tagIn(answer) !== this.name) {
          this.#noteAbsence("login", via);
          return;
        }
        const after = sessionCookieIn(answer.setCookies);
        if (after === undefined)
          return this.#population.note("broken", `${this.name}: a log-in without a cookie`);
        this.#cookie = after;
        this.sinceMs = performance.now();
        this.#population.noteDead({ cookie: before, session: this, why: "login", by: via });
      } else if (!isRefusal(answer)) {
        this.mayBeGone = true;
      }
    });
  }

  /** The session gets a new id, to which the old one leads for a while. @returns what was answered */
  async renew(via = this.app()): Promise<HttpAnswer> {
    this.#isRenewing = true;
    return this.#change(via, "renew", (answer) => {
      this.#isRenewing = false;
      const after = isGood(answer) ? sessionCookieIn(answer.setCookies) : undefined;
      if (after !== undefined) this.#cookie = after;
      else if (!isRefusal(answer)) this.mayBeGone = true;
    });
  }

  /** The user logs out. @returns what was answered */
  async logout(via = this.app()): Promise<HttpAnswer> {
    const before = this.#cookie!;
    return this.#change(via, "logout", (answer) => {
      if (isGood(answer)) {
        if (tagIn(answer) !== this.name) this.#noteAbsence("logout", via);
        this.standing = "ended";
        this.#population.noteDead({ cookie: before, session: this, why: "logout", by: via });
      } else if (!isRefusal(answer)) {
        this.standing = "uncertain";
      }
    });
  }

  /** Puts so much into the session as an attribute of its own. @returns what was answered */
  async fill(bytes: number): Promise<{ status: number; code: string }> {
    const answer = await this.#noteOpen(this.#send(this.app(), "POST", `/fill?bytes=${bytes}`, "fill"));
    return { status: answer.kind === "whole" ? answer.status : 0, code: codeIn(answer) };
  }

  /**
   * What the session holds, as one process sees it; undefined where that sees none. Errors that may pass are asked again.
   * @throws Error where there is no answer but errors for 20 s
   */
  async state(app: App | undefined = this.app(), cookie = this.#cookie): Promise<FinalState | undefined> {
    const giveUpMs = performance.now() + 20_000;
    for (;;) {
      const answer = await this.#send(app, "GET", "/state", "state", cookie);
      if (isGood(answer)) {
        const state = JSON.parse(answer.body) as FinalState;
        return state.tag === undefined ? undefined : state;
      }
      if (performance.now() > giveUpMs) throw new Error(`${this.name} cannot be read: ${inWords(answer)}`);
      await pause(200);
    }
  }

  /** Resolves when nothing is under way any more. */
  async quiet(): Promise<void> {
    while (this.#open.size > 0) await Promise.all(this.#open);
  }

  async #operate(
    app: App | undefined,
    kind: OperationKind,
    id: string,
    { thinkMs, blockMs, tells, patienceMs }: AskOptions,
  ): Promise<Operation> {
    const startedMs = performance.now();
    const cookie = this.#cookie;
    const query = [
      `id=${id}`,
      ...(thinkMs === undefined ? [] : [`thinkMs=${thinkMs}`]),
      ...(blockMs === undefined ? [] : [`blockMs=${blockMs}`]),
      ...(tells ? ["tells"] : []),
    ].join("&");
    const answer = await this.#send(
      app,
      kind === "read" ? "GET" : "POST",
      `/${kind}?${query}`,
      kind,
      cookie,
      patienceMs,
    );
    const outcome = outcomeOf(answer);
    const operation = { id, session: this.name, kind, startedMs, endedMs: performance.now(), outcome };
    const isAbsent = outcome.kind === "acknowledged" && outcome.reply.tag === undefined;
    const mustLeadHere = this.#mustLeadHere(cookie);
    // Who comes with a cookie that a log-in has ended is nobody, and does nothing to this session.
    if (!isAbsent || mustLeadHere) this.#population.ledger.record(operation);
    if (isAbsent && mustLeadHere) this.#population.noteVanished(this, kind, app);
    if (answer.kind === "whole") this.#keep(sessionCookieIn(answer.setCookies), cookie, id);
    if (outcome.kind === "acknowledged") this.usedMs.push(operation.endedMs);
    return operation;
  }

  #noteAbsence(kind: string, app: App | undefined): void {
    if (!this.mayBeGone) this.#population.noteVanished(this, kind, app);
  }

  /** Whether a cookie that was sent before must still lead to the session. */
  #mustLeadHere(sent: string | undefined): boolean {
    if (sent === undefined || this.#cookie === undefined || this.standing !== "live") return false;
    const isCurrent = readCookie(sent).id === readCookie(this.#cookie).id;
    return isCurrent && !this.mayBeGone && (!this.#isChanging || this.#isRenewing);
  }

  /** A browser keeps what it is sent. What leads to another session must not have been sent. */
  #keep(received: string | undefined, sent: string | undefined, id: string): void {
    if (received === undefined || sent === undefined || this.#cookie === undefined) return;
    if (received === "") {
      this.#population.noteNewId(this, `${id} was answered by clearing the cookie`);
      return;
    }
    const [was, is, now] = [readCookie(sent), readCookie(received), readCookie(this.#cookie)];
    const isStrange = is.id !== was.id && is.id !== now.id && !this.#isRenewing;
    if (isStrange && this.#mustLeadHere(sent)) {
      this.#population.noteNewId(this, `${id} was given a new session id`);
    }
    if (is.id !== now.id && !this.#isRenewing) return;
    if (is.node !== now.node) this.relocations += 1;
    if (is.route !== now.route) this.moves += 1;
    this.#cookie = received;
  }

  async #change(
    app: App | undefined,
    kind: "login" | "renew" | "logout",
    learn: (answer: HttpAnswer) => void,
  ): Promise<HttpAnswer> {
    this.#isChanging = true;
    const answered = this.#noteOpen(
      this.#send(app, "POST", `/${kind}`, kind).then((answer) => {
        learn(answer);
        return answer;
      }),
    );
    return answered.finally(() => {
      this.#isChanging = false;
    });
  }

  #noteOpen<T>(answered: Promise<T>): Promise<T> {
    this.#open.add(answered);
    void answered.then(() => this.#open.delete(answered));
    return answered;
  }

  async #send(
    app: App | undefined,
    method: string,
    path: string,
    kind: string,
    cookie = this.#cookie,
    patienceMs = usualPatienceMs,
  ): Promise<HttpAnswer> {
    const startedMs = performance.now();
    const answer = await this.#sendTo(app, { method, path, cookie, patienceMs });
    this.#population.noteRequest({ kind, app: app?.name, startedMs, endedMs: performance.now(), answer });
    return answer;
  }

  async #sendTo(
    app: App | undefined,
    request: { method: string; path: string; cookie: string | undefined; patienceMs: number },
  ): Promise<HttpAnswer> {
    if (app === undefined) return { kind: "broken", why: "no application process", wasSent: false };
    const cookie = request.cookie === undefined ? undefined : `sid=${request.cookie}`;
    const answer = await askWorker(app.line, { ...request, cookie });
    if (answer.kind === "whole" || answer.wasSent) return answer;
    // Nothing was sent, so that a balancer would try another one.
    const other = this.#population.bench.balancer.otherThan(app);
    return other === undefined ? answer : askWorker(other.line, { ...request, cookie });
  }
}

const isGood = (answer: HttpAnswer): answer is Extract<HttpAnswer, { kind: "whole" }> =>
  answer.kind === "whole" && answer.status === 200;

/** The code of the error that was answered; "" where there is none. */
export function codeIn(answer: HttpAnswer): string {
  if (answer.kind === "broken") return answer.why;
  return answer.status === 200 ? "" : ((JSON.parse(answer.body) as { code?: string }).code ?? "");
}

const isRefusal = (answer: HttpAnswer) =>
  (answer.kind === "broken" && !answer.wasSent) || refusals.has(codeIn(answer));

const tagIn = ({ body }: { readonly body: string }) => (JSON.parse(body) as { tag?: string }).tag;

const inWords = (answer: HttpAnswer) =>
  answer.kind === "broken" ? answer.why : `${answer.status} ${answer.body}`;

function outcomeOf(answer: HttpAnswer): Outcome {
  if (isGood(answer)) return { kind: "acknowledged", reply: JSON.parse(answer.body) as Reply };
  const code = codeIn(answer);
  return isRefusal(answer) ? { kind: "refused", code } : { kind: "indeterminate", why: code };
}
