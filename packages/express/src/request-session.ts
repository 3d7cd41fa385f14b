import type {
  CommitOptions,
  CommitResult,
  CookieOptions,
  CookieRequest,
  RegenerateOptions,
  Session,
  SessionExchange,
} from "@msm/core";
import { longestTimeMs } from "@msm/core";
import { cookieAgeOf, setCookieAge, withMaxAge } from "@msm/core/node";
import type { Request } from "express";
import type { Cookie, Session as ExpressSession } from "express-session";
import { createMembers, type Detach, ownMembers } from "./members.js";
import { createCookie } from "./session-cookie.js";

/**
 * The session of one Express request: what stands in `req.session` and `req.sessionID`, and the exchange as
 * express-session's rules want it.
 *
 * Under those rules (`unset: "keep"`), `req.session = null` and `delete req.session` mean that this request has no
 * session any more: what it changed is not saved, no cookie is sent, and what is stored stays as it is.
 */
export class RequestSession implements SessionExchange {
  readonly session: Session;
  readonly #req: Request;
  readonly #exchange: SessionExchange;
  readonly #cookieOptions: CookieOptions;
  #view: ExpressSession | undefined;
  #detach: Detach | undefined;
  #isUnset = false;
  #isDestroyed = false;

  constructor(req: Request, exchange: SessionExchange, session: Session, cookieOptions: CookieOptions) {
    this.#req = req;
    this.#exchange = exchange;
    this.session = session;
    this.#cookieOptions = cookieOptions;
  }

  /** Puts `session` and `sessionID` on the request. Neither costs anything until it is read. */
  attach(): void {
    Object.defineProperty(this.#req, "session", {
      get: () => (this.#isUnset ? undefined : this.#currentView()),
      set: (value: unknown) => this.#replaceView(value),
      enumerable: true,
      configurable: true,
    });
    Object.defineProperty(this.#req, "sessionID", {
      get: () => this.session.id,
      enumerable: true,
      configurable: true,
    });
  }

  // --- the exchange -----------------------------------------------------------------------------------------------

  async commit(options?: CommitOptions): Promise<CommitResult> {
    if (this.#isKept) {
      if (options?.keepLease !== true) await this.session.release();
      return { outcome: "unneeded" };
    }
    const result = await this.#exchange.commit(options);
    if (result.outcome === "stored" || result.outcome === "kept") this.#renewAgedCookie();
    return result;
  }

  cookie(options?: CookieRequest): string | undefined {
    if (this.#isKept) return undefined;
    const header = this.#exchange.cookie(options);
    if (header === undefined || this.#isDestroyed) return header;
    const ageMs = this.#ownCookieAgeMs;
    return ageMs === undefined ? header : withMaxAge(header, ageMs);
  }

  end(): Promise<void> {
    return this.#exchange.end();
  }

  /** True where the application took the session from its request, without ending it. */
  get #isKept(): boolean {
    return !this.#isDestroyed && (this.#isUnset || !Object.hasOwn(this.#req, "session"));
  }

  /** As in express-session, a cookie that lasts is sent again with each change. */
  #renewAgedCookie(): void {
    const ageMs = this.#isDestroyed ? undefined : this.#ownCookieAgeMs;
    if (typeof ageMs === "number" && ageMs > 0) this.session.cookieMaxAgeMs = Math.min(ageMs, longestTimeMs);
  }

  /** The age that this session's cookie was given, in milliseconds; null: until the browser is closed; undefined: none. */
  get #ownCookieAgeMs(): number | null | undefined {
    return cookieAgeOf(this.session);
  }

  // --- what the members of req.session do -------------------------------------------------------------------------

  get req(): Request {
    return this.#req;
  }

  async reload(): Promise<void> {
    await this.session.reload();
    this.#renewView();
  }

  async regenerate(options?: RegenerateOptions): Promise<void> {
    const { id } = this.session;
    const attributes = { ...this.session.attributes };
    await this.session.regenerate(options);
    // Passport copies from the old object to the new one (`keepSessionInfo`), so the old one keeps what it had.
    this.#detach?.(id, attributes);
    this.#renewView();
  }

  destroy(): Promise<void> {
    this.#isDestroyed = true;
    this.#isUnset = true;
    return this.session.destroy();
  }

  /** The cookie as express-session shows it. Changing its age changes the session's idle timeout as well. */
  createCookie(): Cookie {
    const maxAgeMs = this.#ownCookieAgeMs;
    const shownMs = maxAgeMs === undefined ? (this.session.cookieMaxAgeMs ?? null) : maxAgeMs;
    return createCookie(this.#cookieOptions, this.#req.secure, shownMs, (ageMs) =>
      setCookieAge(this.session, ageMs),
    );
  }

  // --- the object in req.session ----------------------------------------------------------------------------------

  #currentView(): ExpressSession {
    if (this.#view === undefined) {
      const { members, detach } = createMembers(this);
      this.#view = this.session.attributesWith(members, ownMembers);
      this.#detach = detach;
    }
    return this.#view;
  }

  #renewView(): void {
    this.#view = undefined;
    this.#detach = undefined;
    this.#isUnset = false;
    if (!Object.hasOwn(this.#req, "session")) this.attach();
  }

  #replaceView(value: unknown): void {
    if (value !== null && value !== undefined && value !== this.#view) {
      throw new TypeError(
        "req.session cannot be replaced. Assign its properties, or begin an empty session with req.session.regenerate()",
      );
    }
    this.#isUnset = value === null || value === undefined;
  }
}
