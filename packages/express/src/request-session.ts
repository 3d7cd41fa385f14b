import type {
  CommitOptions,
  CommitResult,
  RegenerateOptions,
  Session,
  SessionExchange,
  SessionManager,
} from "@msm/core";
import { MsmError } from "@msm/core";
import expressSession, { type Session as ExpressSession, type Store } from "express-session";
import { createView, detach, keepCookie } from "./members.js";
import type { AnyRequest } from "./request-facts.js";
import { attach, type ShownSession } from "./request-properties.js";
import { type CookieSource, SessionCookie } from "./session-cookie.js";

/** How requests' sessions are treated, whatever the request: what express-session's options say of it. */
export interface RequestRules {
  readonly manager: SessionManager;
  readonly cookieName: string;
  readonly rolling: boolean;
  /** Whether a cookie that lasts is sent again once half of its age is over. */
  readonly renew: boolean;
  readonly saveUninitialized: boolean;
  readonly unset: "destroy" | "keep";
  /** What stands in `req.sessionStore`. */
  readonly sessionStore: Store;
}

/**
 * The session of one request: what stands in `req.session` and `req.sessionID`, and the exchange as express-session's
 * rules want it.
 *
 * `req.session = null` and `delete req.session` mean that this request has no session any more: what it changed is not
 * saved, no cookie is sent, and what is stored stays as it is, or ends with `unset: "destroy"`.
 */
export class RequestSession implements SessionExchange, ShownSession {
  readonly session: Session;
  readonly #req: AnyRequest;
  readonly #exchange: SessionExchange;
  readonly #rules: RequestRules;
  readonly #cookieSource: CookieSource;
  /** Made when it is asked for: most requests do not look at it. */
  #cookie: SessionCookie | undefined;
  #view: ExpressSession | undefined;
  /** What stands in `req.session` where the request has no session any more. */
  #unset: { readonly as: null | undefined } | undefined;
  #isDestroyed = false;
  /** What stands in `req.sessionID` where the application spoilt it. */
  #spoiltId: { readonly value: unknown } | undefined;
  /** Whether the session begins with this request. */
  #begins: boolean;
  /** Whether it is stored though nothing was put into it. */
  #isStoredEmpty: boolean;
  /** Whether a cookie that lasts begins its time anew. */
  #isUsed = false;

  constructor(
    req: AnyRequest,
    exchange: SessionExchange,
    session: Session,
    rules: RequestRules,
    source: CookieSource,
  ) {
    this.#req = req;
    this.#exchange = exchange;
    this.session = session;
    this.#rules = rules;
    this.#cookieSource = source;
    this.#begins = session.isNew;
    this.#isStoredEmpty = rules.saveUninitialized && session.isNew;
    if (session.isNew) this.#beginIdleTimeout();
  }

  /** Puts it on its request. */
  attach(): void {
    attach(this.#req, this);
  }

  #beginIdleTimeout(): void {
    const { idleTimeoutMs } = this.#cookieSource;
    if (idleTimeoutMs !== undefined) this.session.idleTimeoutMs = idleTimeoutMs;
  }

  // --- the exchange -----------------------------------------------------------------------------------------------

  commit(options?: CommitOptions): CommitResult | Promise<CommitResult> {
    if (this.#isTakenAway && this.#rules.unset === "destroy") return this.#commitEnd(options);
    if (this.#isTakenAway || this.#spoiltId !== undefined) return this.#commitNothing(options);

    this.#rememberCookie();
    const committing = this.#exchange.commit(options);
    return committing instanceof Promise ? this.#notedLater(committing) : this.#noted(committing);
  }

  async #notedLater(committing: Promise<CommitResult>): Promise<CommitResult> {
    return this.#noted(await committing);
  }

  #noted(result: CommitResult): CommitResult {
    if (result.outcome === "stored" || result.outcome === "kept") this.#isUsed = true;
    return result;
  }

  async #commitNothing(options?: CommitOptions): Promise<CommitResult> {
    if (options?.keepLease !== true) await this.session.release();
    return { outcome: "unneeded" };
  }

  async #commitEnd(options?: CommitOptions): Promise<CommitResult> {
    const isStored = !this.session.isNew || this.#isUsed;
    if (!isStored) return this.#commitNothing(options);
    try {
      await this.destroy();
    } catch (error) {
      return { outcome: "failed", error: MsmError.from(error, "MSM_ERR_STORAGE_UNAVAILABLE") };
    }
    return this.#exchange.commit(options);
  }

  cookie(): string | undefined {
    if (this.#isTakenAway || this.#spoiltId !== undefined) return undefined;
    const { rolling, cookieName } = this.#rules;
    const header = this.#exchange.cookie({ renew: rolling || this.#beginsItsTimeAnew() });
    if (header === undefined) return undefined;
    const value = valueIn(header);
    const { sessionCookie } = this;
    return value === "" ? sessionCookie.clearingHeader(cookieName) : sessionCookie.header(cookieName, value);
  }

  /** As in express-session, a cookie that lasts is sent again with each change. */
  #beginsItsTimeAnew(): boolean {
    if (!this.#isUsed || this.#isDestroyed) return false;
    if (this.sessionCookie.lasts) return true;
    // Where only the options say that it lasts, the core would send it again.
    this.session.cookieMaxAgeMs = undefined;
    return false;
  }

  end(): Promise<void> {
    return this.#exchange.end();
  }

  /** True where the application took the session from its request, without ending it. */
  get #isTakenAway(): boolean {
    return !this.#isDestroyed && (this.#unset !== undefined || !Object.hasOwn(this.#req, "session"));
  }

  /** A session that remembers its cookie is not empty, and is stored. */
  #rememberCookie(): void {
    if (this.#isDestroyed) return;
    if (this.#begins && this.#isStoredFromItsBeginning && !this.sessionCookie.isRemembered) {
      this.sessionCookie.rememberAll();
    } else {
      this.#cookie?.remember();
    }
    if (this.#rules.renew && !this.#isEmpty && this.sessionCookie.renewIfHalfOver()) this.#isUsed = true;
  }

  get #isStoredFromItsBeginning(): boolean {
    return this.#isStoredEmpty || (this.#cookieSource.isOfRequest && !this.#isEmpty);
  }

  /** Whether there is nothing to store. */
  get #isEmpty(): boolean {
    // Their names alone: to look at values would decode them.
    return Reflect.ownKeys(this.session.attributes).every((name) => typeof name === "symbol");
  }

  // --- what the members of req.session do -------------------------------------------------------------------------

  get req(): AnyRequest {
    return this.#req;
  }

  /** The cookie of the session that the request has now. */
  get sessionCookie(): SessionCookie {
    this.#cookie ??= new SessionCookie(this.session, this.#cookieSource);
    return this.#cookie;
  }

  async save(): Promise<void> {
    this.#rememberCookie();
    await this.session.save();
    this.#isUsed = true;
  }

  touch(): void {
    this.#isUsed = true;
    const { shown } = this.sessionCookie;
    if (shown.originalMaxAge !== null) shown.maxAge = shown.originalMaxAge;
  }

  async reload(): Promise<void> {
    await this.session.reload().catch((error: unknown) => {
      throw asFailedLoad(error);
    });
    this.#renewView();
  }

  async regenerate(options?: RegenerateOptions): Promise<void> {
    this.#cookie?.remember();
    const { id } = this.session;
    const attributes = { ...this.session.attributes };
    void this.sessionCookie.shown; // of the old session, while that can still be read
    await this.session.regenerate(options);
    // Passport copies from the old object to the new one (`keepSessionInfo`), so the old one keeps what it had.
    if (this.#view !== undefined) detach(this.#view, id, attributes);
    this.#begins = true;
    this.#isStoredEmpty = true;
    if (!this.sessionCookie.isRemembered) this.#beginIdleTimeout();
    this.#renewView();
  }

  destroy(): Promise<void> {
    this.#isDestroyed = true;
    this.#unset = { as: undefined };
    return this.session.destroy();
  }

  // --- what stands on the request ---------------------------------------------------------------------------------

  get store(): Store {
    return this.#rules.sessionStore;
  }

  get shownId(): unknown {
    return this.#spoiltId === undefined ? this.session.id : this.#spoiltId.value;
  }

  /** As in express-session, a session whose request has no text for an id is neither saved nor announced. */
  set shownId(value: unknown) {
    if (typeof value === "string" && value !== this.session.id) {
      throw new TypeError("req.sessionID cannot be another session's: use req.session.regenerate()");
    }
    this.#spoiltId = value === this.session.id ? undefined : { value };
  }

  get shown(): unknown {
    return this.#unset === undefined ? this.#currentView() : this.#unset.as;
  }

  set shown(value: unknown) {
    if (value === null || value === undefined) {
      this.#unset = { as: value };
      return;
    }
    if (typeof value !== "object") {
      throw new TypeError(`req.session can be an object, null or undefined, got ${typeof value}`);
    }
    this.#unset = undefined;
    if (value !== this.#view) this.#replaceAttributes(value);
  }

  #currentView(): ExpressSession {
    this.#view ??= createView(this);
    return this.#view;
  }

  #renewView(): void {
    if (this.#view !== undefined) keepCookie(this.#view);
    this.#cookie = undefined;
    this.#view = undefined;
    this.#unset = undefined;
    if (!Object.hasOwn(this.#req, "session")) this.attach();
  }

  /** The session goes on under its id, with what the object holds. */
  #replaceAttributes(object: object): void {
    const view = this.#currentView();
    const given = Object.entries(object).filter(([name]) => !isReserved(name));
    const former = Object.keys(this.session.attributes).filter((name) => name !== "cookie");
    for (const name of former) Reflect.deleteProperty(view, name);
    Object.assign(view, Object.fromEntries(given));
  }
}

/** As express-session does, what has the name of a member is left out of what it takes for a session. */
const isReserved = (name: string) =>
  name in expressSession.Session.prototype || name === "id" || name === "req";

const valueIn = (header: string) => header.slice(header.indexOf("=") + 1).split(";", 1)[0]!;

/** With express-session's words. */
function asFailedLoad(error: unknown): unknown {
  const isGone = error instanceof MsmError && error.code === "MSM_ERR_SESSION_GONE";
  return isGone ? new MsmError("MSM_ERR_SESSION_GONE", "failed to load session", { cause: error }) : error;
}
