import type { CookieOptions } from "@msm/core";
import expressSession, { type Cookie } from "express-session";

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
