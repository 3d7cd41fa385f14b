import {
  type CookieOptions as CoreCookieOptions,
  longestTimeMs,
  MsmError,
  type ResolvedCookieOptions,
} from "@msm/core";
import expressSession, { type Cookie } from "express-session";

/**
 * The session cookie, in express-session's spelling or in msm's. `maxAge`, `maxAgeMs` and `expires` are three ways to say
 * how long the browser keeps it; one of them may be given.
 */
export interface CookieOptions {
  /** As the option `name`. */
  readonly name?: string | undefined;
  /** Requests whose path does not begin with it get no session. Default "/". */
  readonly path?: string | undefined;
  /** Default none: the host that set it, and no other. */
  readonly domain?: string | undefined;
  /** Default true. */
  readonly httpOnly?: boolean | undefined;
  /**
   * "auto": as the request came in. With true, a request that came in without TLS gets no cookie. Default "auto"; with
   * `compat: 1`, or `store`, false.
   */
  readonly secure?: boolean | "auto" | undefined;
  /** "auto": "none" where the request came in over TLS, else "lax". Default "lax"; with `compat: 1`, or `store`, none. */
  readonly sameSite?: boolean | "strict" | "lax" | "none" | "auto" | undefined;
  /** Milliseconds the browser keeps the cookie; null: until it is closed. Default null. */
  readonly maxAge?: number | null | undefined;
  /** The same as `maxAge`. */
  readonly maxAgeMs?: number | undefined;
  /** When the browser forgets the cookie of a session that begins now. `maxAge` is better: it begins anew with each use. */
  readonly expires?: Date | null | undefined;
  /** Default false. */
  readonly partitioned?: boolean | undefined;
  readonly priority?: "low" | "medium" | "high" | undefined;
  /** Has no effect, as in express-session: the cookie is always signed. */
  readonly signed?: boolean | undefined;
  /** Has no effect, as in express-session. */
  readonly encode?: ((value: string) => string) | undefined;
}

/** What was given of a cookie's options: one spelling, without defaults. */
export type GivenCookie = Omit<CookieOptions, "name" | "maxAgeMs" | "signed" | "encode">;

const known = [
  ...["name", "path", "domain", "httpOnly", "secure", "sameSite", "maxAge", "maxAgeMs", "expires"],
  ...["partitioned", "priority", "signed", "encode"],
];

/**
 * Checks a cookie's options and gives them in one spelling.
 * @param isLenient as express-session: names that it does not know are not minded
 * @throws MsmError MSM_ERR_OPTION; TypeError where express-session throws one
 */
export function givenCookie(options: unknown, isLenient: boolean): GivenCookie {
  if (typeof options !== "object" || options === null) {
    throw wrong(`cookie must be an object, or a function that gives one, got ${String(options)}`);
  }
  if (!isLenient) checkNames(options);
  const { name: _, signed: __, encode: ___, maxAgeMs, ...given } = options as CookieOptions;
  checkAges(given, maxAgeMs);
  const maxAge = maxAgeMs ?? given.maxAge;
  // Not only undefined: the Cookie would copy the name, and lose its default.
  const all = { ...given, ...(maxAge === undefined ? {} : { maxAge }) };
  return Object.freeze(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)));
}

function checkNames(options: object): void {
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw wrong(`there is no option cookie.${unknown}; there are ${known.join(", ")}`);
}

function checkAges({ maxAge, expires }: GivenCookie, maxAgeMs: number | undefined): void {
  const ages = [maxAge, maxAgeMs, expires].filter((age) => age !== undefined && age !== null);
  if (ages.length > 1) {
    throw wrong("cookie.maxAge, cookie.maxAgeMs and cookie.expires say the same: give one of them");
  }
  const age: unknown = maxAgeMs ?? maxAge ?? 0;
  if (typeof age !== "number" || Number.isNaN(age)) {
    throw new TypeError(`cookie.maxAge must be a number of milliseconds, got ${String(age)}`);
  }
  const isDate = expires instanceof Date && !Number.isNaN(expires.getTime());
  if (expires !== undefined && expires !== null && !isDate) {
    throw wrong(`cookie.expires must be a Date, got ${String(expires)}`);
  }
}

/** Makes express-session's cookie of a new session, with what is "auto" decided. */
export function newCookie(given: GivenCookie, requestIsSecure: boolean): Cookie {
  const cookie: Cookie = Object.assign(new expressSession.Cookie(), given);
  if (given.secure === "auto") cookie.secure = requestIsSecure;
  if (given.sameSite === "auto") cookie.sameSite = requestIsSecure ? "none" : "lax";
  cookie.originalMaxAge = originalAgeMsOf(given);
  return cookie;
}

/** How long a browser keeps a new session's cookie, in milliseconds; null: until it is closed. */
export function originalAgeMsOf({ maxAge, expires }: GivenCookie): number | null {
  return maxAge ?? (expires instanceof Date ? expires.getTime() - Date.now() : null);
}

/** The options as the core knows them; what only express-session knows is left out. */
export function coreCookie(given: GivenCookie): CoreCookieOptions {
  const { maxAge, expires: _, sameSite, ...same } = given;
  const maxAgeMs = idleTimeoutMsOf({ maxAge });
  return {
    ...(same as CoreCookieOptions),
    ...(sameSite === undefined || sameSite === "auto"
      ? {}
      : { sameSite: sameSite === true ? "strict" : sameSite }),
    ...(maxAgeMs === undefined ? {} : { maxAgeMs }),
  };
}

/** The core's options in express-session's spelling. */
export function fromCoreCookie(options: ResolvedCookieOptions): GivenCookie {
  const { name: _, maxAgeMs: maxAge, partitioned, ...same } = options;
  const given = { ...same, maxAge, partitioned: partitioned || undefined };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** How long a session of this cookie lives unused, as with express-session's stores; undefined: that is not said. */
export function idleTimeoutMsOf({ maxAge, expires }: GivenCookie): number | undefined {
  const ageMs = maxAge ?? (expires instanceof Date ? expires.getTime() - Date.now() : 0);
  // "For ever" is a common wish.
  return ageMs > 0 ? Math.min(ageMs, longestTimeMs) : undefined;
}

const wrong = (message: string) => new MsmError("MSM_ERR_OPTION", message);
