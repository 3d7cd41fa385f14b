import {
  type CommitOptions,
  type CommitResult,
  MsmError,
  type RegenerateOptions,
  type Session,
  type SessionExchange,
  type SessionManager,
} from "@msm/core";
import { cookieAgeOf, cookieAttribute, setCookieAge, withMaxAge } from "@msm/core/node";
import type { FastifySessionObject, LibraryCookieOptions } from "../library.js";
import { isUntouched, putSession, SessionMaker } from "../request-session.js";
import type { SessionCookie } from "../session-cookie.js";
import { isSecure, type SessionTarget } from "../sessions.js";
import { CookieInUse } from "./cookie-in-use.js";
import { createView, pictureOf, type SessionOwner } from "./members.js";
import type { NodeSettings } from "./node-settings.js";
import { nameOf } from "./session-names.js";

const renewing = { renew: true };

/** What the sessions of all requests have in common. */
export interface SessionHome {
  readonly manager: SessionManager;
  readonly settings: NodeSettings;
}

/**
 * The session of one request: what stands in `request.session`, and the exchange as @fastify/session's rules want it.
 *
 * Under those rules, an application that puts something else into `request.session` takes the session from its request: what
 * it changed is not saved, no cookie is sent, and what is stored stays as it is.
 */
export class NodeSession extends SessionMaker implements SessionExchange, SessionOwner {
  readonly session: Session;
  isSaved = false;
  readonly #target: SessionTarget;
  readonly #exchange: SessionExchange;
  readonly #home: SessionHome;
  readonly #settings: NodeSettings;
  readonly #cookieHeader: string | undefined;
  /** Undefined until somebody looks. */
  #view: FastifySessionObject | undefined;
  /** What the client is told to send from now on, and the session's id in it. */
  #announced: { readonly id: string; readonly value: string } | undefined;
  #cookie: CookieInUse | undefined;
  #isDestroyed = false;
  #isKeptEmpty: boolean;
  /** The age that the cookie of the former session had, where this one got a new id. */
  #inheritedAgeMs: number | null | undefined;

  /** @param cookieHeader what the client sent */
  constructor(
    target: SessionTarget,
    exchange: SessionExchange,
    session: Session,
    home: SessionHome,
    cookieHeader: string | undefined,
  ) {
    super();
    this.#target = target;
    this.#exchange = exchange;
    this.session = session;
    this.#home = home;
    this.#settings = home.settings;
    this.#cookieHeader = cookieHeader;
    this.#isKeptEmpty = home.settings.saveUninitialized;
    putSession(target, this);
  }

  get view(): FastifySessionObject {
    this.#view ??= createView(this);
    return this.#view;
  }

  // --- the exchange -----------------------------------------------------------------------------------------------

  commit(options?: CommitOptions): CommitResult | Promise<CommitResult> {
    if (!this.#isWanted()) return this.#dropChanges(options);
    if (!this.#isDestroyed) this.#rememberCookie();
    return this.#exchange.commit(options);
  }

  async #dropChanges(options?: CommitOptions): Promise<CommitResult> {
    if (options?.keepLease !== true) await this.session.release();
    return { outcome: "unneeded" };
  }

  cookie(): string | undefined {
    if (!this.#isWanted()) return undefined;
    const isChanged = this.#cookie?.isChanged === true;
    const header = this.#exchange.cookie(isChanged || this.#isRenewalDue() ? renewing : undefined);
    if (header === undefined || isClearing(header)) return header;
    if (this.#isInsecure()) return undefined;
    const { id } = this.session;
    this.#announced = { id, value: valueIn(header) };
    this.#settings.renewals.note(id);
    const ageMs = this.#ageMs();
    const aged = cookieAgeOf(this.session) === undefined ? header : withMaxAge(header, ageMs);
    const isOtherwise = isChanged || this.#settings.cookie.expires !== undefined;
    return isOtherwise ? this.#cookieInUse.rewritten(aged, ageMs) : aged;
  }

  #isRenewalDue(): boolean {
    const { rolling, renewals } = this.#settings;
    if (!rolling || this.#isDestroyed) return false;
    const ageMs = this.#ageMs();
    return ageMs !== null && renewals.isDue(this.session.id, ageMs);
  }

  end(): Promise<void> {
    return this.#exchange.end();
  }

  /** False where the application took the session from its request without ending it, or there is no way to tell the client. */
  #isWanted(): boolean {
    if (this.#isDestroyed) return true;
    return this.#isThere() && !(this.session.isNew && this.#isInsecure());
  }

  /** Whether the request has this session, and nothing that the application put in its place. */
  #isThere(): boolean {
    if (isUntouched(this.#target, this)) return true;
    return this.#view !== undefined && this.#target.session === this.#view;
  }

  /** Such a cookie is not for connections without TLS. */
  #isInsecure(): boolean {
    const { secure } = this.#cookie?.current ?? this.#settings.cookie;
    return secure === true && !isSecure(this.#target);
  }

  /** Puts into the session what it is to remember of its cookie. */
  #rememberCookie(): void {
    const { session } = this;
    const changed = this.#cookie?.takeChangedAge();
    if (changed !== undefined) setCookieAge(session, changed.ageMs);
    if (this.#inheritedAgeMs !== undefined && !session.isEmpty && cookieAgeOf(session) === undefined) {
      setCookieAge(session, this.#inheritedAgeMs);
    }
    // The core stores nothing that is empty; what remembers the cookie is something.
    if (this.#isKeptEmpty && session.isEmpty) {
      session.attributes[cookieAttribute] = { originalMaxAge: this.#ageMs() };
    }
  }

  /** How long the cookie lasts, in milliseconds; null: until the browser is closed. */
  #ageMs(): number | null {
    const ownMs = cookieAgeOf(this.session);
    return ownMs === undefined ? (this.session.cookieMaxAgeMs ?? null) : ownMs;
  }

  // --- what the members of request.session do ---------------------------------------------------------------------

  get encryptedSessionId(): string {
    const { id } = this.session;
    if (this.#announced?.id === id) return this.#announced.value;
    return nameOf(id, this.#cookieHeader, this.#home.manager, this.#settings.tokens);
  }

  get currentCookie(): SessionCookie {
    return this.#cookieInUse.current;
  }

  /** What keeps whole sessions copies the former cookie too: its age counts, and what it shows is the options' affair. */
  set currentCookie({ originalMaxAge }: Pick<SessionCookie, "originalMaxAge">) {
    if (originalMaxAge !== this.#cookieInUse.current.originalMaxAge) {
      this.#cookieInUse.setOptions({ maxAge: originalMaxAge ?? 0 });
    }
  }

  get #cookieInUse(): CookieInUse {
    this.#cookie ??= new CookieInUse(this.#settings, this.#ageMs(), isSecure(this.#target));
    return this.#cookie;
  }

  setCookieOptions(options: Partial<LibraryCookieOptions>): void {
    this.#cookieInUse.setOptions(options);
  }

  touch(): void {
    this.#cookie?.touch();
    this.session.touch();
  }

  async save(): Promise<void> {
    this.#isKeptEmpty = true;
    this.#rememberCookie();
    await this.session.save();
    this.isSaved = true;
  }

  async reload(): Promise<void> {
    await this.session.reload().catch((error: unknown) => this.#emptyUnlessStored(error));
    this.#cookie = undefined;
    this.#renewView();
  }

  /** A session that was never stored is what it began as: empty. */
  #emptyUnlessStored(error: unknown): void {
    const isGone = error instanceof MsmError && error.code === "MSM_ERR_SESSION_GONE";
    if (!isGone || !this.session.isNew || this.isSaved) throw error;
    const { attributes } = this.session;
    for (const name of Object.keys(attributes)) delete attributes[name];
  }

  async regenerate(options: RegenerateOptions): Promise<void> {
    const ageMs = cookieAgeOf(this.session);
    // The old object keeps what it had: applications copy from it.
    const detach = this.#view === undefined ? undefined : pictureOf(this.#view);
    await this.session.regenerate(options);
    detach?.();
    this.#inheritedAgeMs = ageMs;
    this.isSaved = false;
    this.#renewView();
  }

  async destroy(): Promise<void> {
    this.#isDestroyed = true;
    try {
      await this.session.destroy();
    } finally {
      this.#target.session = null;
    }
  }

  #renewView(): void {
    this.#isDestroyed = false;
    this.#view = undefined;
    putSession(this.#target, this);
  }
}

/** A header without a value makes the browser forget the cookie. */
const isClearing = (header: string) => /^[^=]*=;/.test(header);

const valueIn = (header: string) => header.slice(header.indexOf("=") + 1, header.indexOf(";"));
