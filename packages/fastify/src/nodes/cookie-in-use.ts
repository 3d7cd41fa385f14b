import { withMaxAge } from "@msm/core/node";
import { setCookieHeader } from "../cookie-header.js";
import type { LibraryCookieOptions } from "../library.js";
import { type CookieSource, SessionCookie } from "../session-cookie.js";
import type { NodeSettings } from "./node-settings.js";

/** The cookie that an application has looked at, and may have changed, by `request.session.cookie` or `.options()`. */
export class CookieInUse {
  current: SessionCookie;
  readonly #settings: NodeSettings;
  readonly #isSecure: boolean;
  readonly #unchanged: string;
  #source: CookieSource;
  #knownAgeMs: number | null;
  #knownExpires: Date | null;

  /**
   * @param ageMs how long the cookie lasts, in milliseconds; null: until the browser is closed
   * @param isSecure whether the client speaks TLS
   */
  constructor(settings: NodeSettings, ageMs: number | null, isSecure: boolean) {
    const { maxAge: _, ...source } = settings.cookie;
    this.#settings = settings;
    this.#isSecure = isSecure;
    this.#source = { ...source, originalMaxAge: ageMs };
    this.current = new SessionCookie(this.#source, isSecure);
    this.#unchanged = attributesOf(this.current);
    this.#knownAgeMs = this.current.originalMaxAge;
    this.#knownExpires = this.current.expires;
  }

  setOptions({ maxAge, expires, ...others }: Partial<LibraryCookieOptions>): void {
    const age = maxAge === undefined ? {} : { originalMaxAge: maxAge };
    const end = expires === undefined ? {} : { originalMaxAge: null, expires };
    this.#source = { ...this.#source, ...others, ...end, ...age };
    this.current = new SessionCookie(this.#source, this.#isSecure);
  }

  touch(): void {
    this.current.touch();
    this.#knownExpires = this.current.expires;
  }

  /** Whether the application changed something other than its age. */
  get isChanged(): boolean {
    return attributesOf(this.current) !== this.#unchanged;
  }

  /** The age that the application gave the cookie since it was asked last; undefined where it gave none. */
  takeChangedAge(): { readonly ageMs: number | null } | undefined {
    const { originalMaxAge, expires } = this.current;
    const isNewAge = originalMaxAge !== this.#knownAgeMs;
    if (!isNewAge && expires === this.#knownExpires) return undefined;
    this.#knownAgeMs = originalMaxAge;
    this.#knownExpires = expires;
    if (isNewAge && originalMaxAge !== null) return { ageMs: originalMaxAge };
    return { ageMs: expires === null ? null : Math.max(0, expires.getTime() - Date.now()) };
  }

  /** A header of the manager's with what the application changed. */
  rewritten(header: string, ageMs: number | null): string {
    const { cookieName, priority } = this.#settings;
    const value = header.slice(header.indexOf("=") + 1, header.indexOf(";"));
    const changed = setCookieHeader(cookieName, value, this.current, { priority, encode: asItIs });
    return ageMs === null ? changed : withMaxAge(changed, ageMs);
  }
}

/** A value of the manager's holds nothing that a cookie may not. */
const asItIs = (value: string) => value;

function attributesOf({ path, secure, sameSite, domain, httpOnly, partitioned }: SessionCookie): string {
  return JSON.stringify([path, secure, sameSite, domain, httpOnly, partitioned]);
}
