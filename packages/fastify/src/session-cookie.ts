import type { LibraryCookieOptions } from "./library.js";

/** What a session's cookie is made of: the options, or what a session remembers of its cookie. */
export interface CookieSource extends Omit<LibraryCookieOptions, "expires" | "sameSite"> {
  readonly sameSite?: LibraryCookieOptions["sameSite"] | null;
  /** Milliseconds; null: until the browser is closed. */
  readonly originalMaxAge?: number | null;
  /** A date, or what JSON or a clock made of one. */
  readonly expires?: Date | string | number | null;
}

/** What a session remembers of its cookie, and what is sent: without `Max-Age`. */
export interface CookieData {
  readonly expires: Date | null;
  readonly originalMaxAge: number | null;
  readonly originalExpires: Date | undefined;
  readonly sameSite: boolean | "lax" | "strict" | "none" | null;
  readonly secure: boolean | null;
  readonly path: string;
  readonly httpOnly: boolean;
  readonly domain: string | null;
  readonly partitioned: boolean | undefined;
}

/**
 * `request.session.cookie`, as @fastify/session has it (lib/cookie.js): `maxAge` counts down, and setting it moves
 * `expires`; of both, `maxAge` wins. `secure: "auto"` is what the request was, and without TLS then goes `sameSite: "lax"`.
 */
export class SessionCookie {
  path: string;
  secure: boolean | null;
  sameSite: CookieData["sameSite"];
  domain: string | null;
  httpOnly: boolean;
  partitioned: boolean | undefined;
  /** Milliseconds; null: until the browser is closed. */
  originalMaxAge: number | null;
  /** When the session ends, as it was stored or configured. */
  originalExpires: Date | undefined;
  #expires: Date | null = null;

  /** @param isSecureRequest whether the client speaks TLS */
  constructor(source: CookieSource, isSecureRequest: boolean) {
    this.path = source.path || "/";
    this.sameSite = source.sameSite || null;
    this.secure = source.secure === "auto" ? isSecureRequest : (source.secure ?? null);
    if (source.secure === "auto" && !isSecureRequest) this.sameSite = "lax";
    this.domain = source.domain || null;
    this.httpOnly = source.httpOnly ?? true;
    this.partitioned = source.partitioned;
    this.originalExpires = source.expires ? new Date(source.expires) : undefined;
    this.originalMaxAge = source.originalMaxAge || source.maxAge || null;
    if (this.originalMaxAge !== null) this.maxAge = this.originalMaxAge;
    else if (this.originalExpires !== undefined) this.#expires = new Date(this.originalExpires);
  }

  get expires(): Date | null {
    return this.#expires;
  }

  set expires(date: Date | null | undefined) {
    this.#expires = date ?? null;
  }

  /** Milliseconds that are left; null: until the browser is closed. */
  get maxAge(): number | null {
    return this.#expires instanceof Date ? this.#expires.getTime() - Date.now() : null;
  }

  set maxAge(ageMs: number) {
    this.#expires = new Date(Date.now() + ageMs);
    this.originalMaxAge = ageMs;
  }

  /** Starts the cookie's time anew. */
  touch(): void {
    if (this.originalMaxAge) this.maxAge = this.originalMaxAge;
  }

  toJSON(): CookieData {
    return {
      expires: this.#expires,
      originalMaxAge: this.originalMaxAge,
      originalExpires: this.originalExpires,
      sameSite: this.sameSite,
      secure: this.secure,
      path: this.path,
      httpOnly: this.httpOnly,
      domain: this.domain,
      partitioned: this.partitioned,
    };
  }
}
