import {
  type CommitOptions,
  type CommitResult,
  MsmError,
  type RegenerateOptions,
  type Session,
  type SessionExchange,
} from "@msm/core";
import { cookieAgeOf, cookieAttribute, setCookieAge, withMaxAge } from "@msm/core/node";
import type { FastifySessionObject, LibraryCookieOptions } from "../library.js";
import type { SessionCookie } from "../session-cookie.js";
import { isSecure, type SessionTarget } from "../sessions.js";
import { CookieInUse } from "./cookie-in-use.js";
import { createView, type Detach, type SessionOwner } from "./members.js";
import type { NodeSettings } from "./node-settings.js";
import type { SessionNames } from "./session-names.js";

/**
 * The session of one request: what stands in `request.session`, and the exchange as @fastify/session's rules want it.
 *
 * Under those rules, an application that puts something else into `request.session` takes the session from its request: what
 * it changed is not saved, no cookie is sent, and what is stored stays as it is.
 */
export class NodeSession implements SessionExchange, SessionOwner {
  readonly session: Session;
  isSaved = false;
  readonly #target: SessionTarget;
  readonly #exchange: SessionExchange;
  readonly #settings: NodeSettings;
  readonly #names: SessionNames;
  #view: FastifySessionObject;
  #detach: Detach;
  #cookie: CookieInUse | undefined;
  #isDestroyed = false;
  #isKeptEmpty: boolean;
  /** The age that the cookie of the former session had, where this one got a new id. */
  #inheritedAgeMs: number | null | undefined;

  constructor(
    target: SessionTarget,
    exchange: SessionExchange,
    session: Session,
    settings: NodeSettings,
    names: SessionNames,
  ) {
    this.#target = target;
    this.#exchange = exchange;
    this.session = session;
    this.#settings = settings;
    this.#names = names;
    this.#isKeptEmpty = settings.saveUninitialized;
    const { view, detach } = createView(this);
    this.#view = view;
    this.#detach = detach;
    target.session = view;
  }

  // --- the exchange -----------------------------------------------------------------------------------------------

  async commit(options?: CommitOptions): Promise<CommitResult> {
    if (!this.#isWanted) {
      if (options?.keepLease !== true) await this.session.release();
      return { outcome: "unneeded" };
    }
    if (!this.#isDestroyed) this.#rememberCookie();
    return this.#exchange.commit(options);
  }

  cookie(): string | undefined {
    if (!this.#isWanted) return undefined;
    const ageMs = this.#ageMs;
    const { rolling, renewals } = this.#settings;
    const isDue = rolling && !this.#isDestroyed && ageMs !== null && renewals.isDue(this.session.id, ageMs);
    const header = this.#exchange.cookie({ renew: isDue || this.#cookie?.isChanged === true });
    if (header === undefined || isClearing(header)) return header;
    if (this.#isInsecure) return undefined;
    renewals.note(this.session.id);
    const aged = cookieAgeOf(this.session) === undefined ? header : withMaxAge(header, ageMs);
    const isOtherwise = this.#cookie?.isChanged === true || this.#settings.cookie.expires !== undefined;
    return isOtherwise ? this.#cookieInUse.rewritten(aged, ageMs) : aged;
  }

  end(): Promise<void> {
    return this.#exchange.end();
  }

  /** False where the application took the session from its request without ending it, or there is no way to tell the client. */
  get #isWanted(): boolean {
    if (this.#isDestroyed) return true;
    return this.#target.session === this.#view && !(this.session.isNew && this.#isInsecure);
  }

  /** Such a cookie is not for connections without TLS. */
  get #isInsecure(): boolean {
    const { secure } = this.#cookie?.current ?? this.#settings.cookie;
    return secure === true && !isSecure(this.#target);
  }

  /** Puts into the session what it is to remember of its cookie. */
  #rememberCookie(): void {
    const { session } = this;
    const changed = this.#cookie?.takeChangedAge();
    if (changed !== undefined) setCookieAge(session, changed.ageMs);
    if (this.#inheritedAgeMs !== undefined && !isEmpty(session) && cookieAgeOf(session) === undefined) {
      setCookieAge(session, this.#inheritedAgeMs);
    }
    // The core stores nothing that is empty; what remembers the cookie is something.
    if (this.#isKeptEmpty && isEmpty(session)) {
      session.attributes[cookieAttribute] = { originalMaxAge: this.#ageMs };
    }
  }

  /** How long the cookie lasts, in milliseconds; null: until the browser is closed. */
  get #ageMs(): number | null {
    const ownMs = cookieAgeOf(this.session);
    return ownMs === undefined ? (this.session.cookieMaxAgeMs ?? null) : ownMs;
  }

  // --- what the members of request.session do ---------------------------------------------------------------------

  get encryptedSessionId(): string {
    return this.#names.of(this.session.id);
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
    this.#cookie ??= new CookieInUse(this.#settings, this.#ageMs, isSecure(this.#target));
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
    const detach = this.#detach(); // the old object keeps what it had: applications copy from it
    await this.session.regenerate(options);
    detach();
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
    const { view, detach } = createView(this);
    this.#view = view;
    this.#detach = detach;
    this.#target.session = view;
  }
}

/** Not with `Object.keys()`, which would decode all that is there. */
const isEmpty = ({ attributes }: Session) =>
  !Reflect.ownKeys(attributes).some((key) => typeof key === "string");

/** A header without a value makes the browser forget the cookie. */
const isClearing = (header: string) => /^[^=]*=;/.test(header);
