import type { CookieOptions } from "@msm/core";
import expressSession, { type Cookie } from "express-session";

/** What a session remembers of a cookie whose age was changed: kept among the attributes, as express-session does. */
export interface StoredCookie {
  /** Milliseconds; null: until the browser is closed. */
  readonly originalMaxAge: number | null;
}

/** True where a stored value is what we, or express-session, keep of a cookie. */
export function isStoredCookie(value: unknown): value is StoredCookie {
  if (typeof value !== "object" || value === null || !("originalMaxAge" in value)) return false;
  return value.originalMaxAge === null || typeof value.originalMaxAge === "number";
}

/**
 * Makes express-session's cookie object from our options.
 * @param maxAgeMs how long the browser keeps it; null: until it is closed
 * @param onAgeChange called with the new age where the application sets `maxAge` or `expires`
 */
export function createCookie(
  options: CookieOptions,
  requestIsSecure: boolean,
  maxAgeMs: number | null,
  onAgeChange: (maxAgeMs: number | null) => void,
): Cookie {
  const {
    secure = "auto",
    path = "/",
    httpOnly = true,
    sameSite = "lax",
    domain,
    partitioned,
    priority,
  } = options;
  const cookie = Object.assign(new expressSession.Cookie(), {
    path,
    httpOnly,
    sameSite,
    secure: secure === "auto" ? requestIsSecure : secure,
    ...(domain === undefined ? {} : { domain }),
    ...(partitioned === undefined ? {} : { partitioned }),
    ...(priority === undefined ? {} : { priority }),
  });
  if (maxAgeMs !== null) cookie.maxAge = maxAgeMs;
  cookie.originalMaxAge = maxAgeMs;
  watchAge(cookie, onAgeChange);
  return cookie;
}

const { expires, maxAge } = Object.getOwnPropertyDescriptors(expressSession.Cookie.prototype);

/** Notices both ways to change the age; express-session's `maxAge` sets `expires`. */
function watchAge(cookie: Cookie, onAgeChange: (maxAgeMs: number | null) => void): void {
  let knownMs = cookie.originalMaxAge;
  // What the clock makes of it may be a millisecond less, and would look like a change each time.
  let exactMs: number | undefined;
  Object.defineProperties(cookie, {
    maxAge: {
      get: () => maxAge?.get?.call(cookie),
      set: (value: number | undefined) => {
        exactMs = typeof value === "number" ? value : undefined;
        maxAge?.set?.call(cookie, value);
        exactMs = undefined;
      },
      configurable: true,
    },
    expires: {
      get: () => expires?.get?.call(cookie),
      set: (value: Date | null | undefined) => {
        expires?.set?.call(cookie, value);
        const ageMs: unknown = exactMs ?? cookie.originalMaxAge;
        cookie.originalMaxAge = typeof ageMs === "number" ? ageMs : null;
        if (cookie.originalMaxAge !== knownMs) onAgeChange(cookie.originalMaxAge);
        knownMs = cookie.originalMaxAge;
      },
      configurable: true,
    },
  });
}

/** Gives a Set-Cookie header another age. @param maxAgeMs null: until the browser is closed */
export function withMaxAge(header: string, maxAgeMs: number | null): string {
  const others = header.split("; ").filter((attribute) => !/^(max-age|expires)=/i.test(attribute));
  if (maxAgeMs === null) return others.join("; ");
  const age = `Max-Age=${Math.floor(maxAgeMs / 1000)}`;
  const expires = `Expires=${new Date(Date.now() + maxAgeMs).toUTCString()}`;
  return [...others, age, expires].join("; ");
}
