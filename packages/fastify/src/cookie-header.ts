import { stringifySetCookie } from "cookie";
import type { SessionCookie } from "./session-cookie.js";

type Priority = "low" | "medium" | "high" | undefined;

/** Makes the Set-Cookie header for a session's cookie. As @fastify/session's, it says `Expires` and no `Max-Age`. */
export function setCookieHeader(
  name: string,
  value: string,
  cookie: SessionCookie,
  more: { priority?: Priority; encode?: (value: string) => string } = {},
): string {
  const { path, httpOnly, sameSite, domain, secure, partitioned, expires } = cookie;
  const { priority, encode } = more;
  return stringifySetCookie(name, value, {
    path,
    httpOnly,
    ...(sameSite === null ? {} : { sameSite }),
    ...(domain === null ? {} : { domain }),
    ...(secure === null ? {} : { secure }),
    ...(partitioned === undefined ? {} : { partitioned }),
    ...(expires === null ? {} : { expires }),
    ...(priority === undefined ? {} : { priority }),
    ...(encode === undefined ? {} : { encode }),
  });
}

/** Makes the Set-Cookie header that has the browser forget a cookie. */
export function clearingHeader(name: string, domain: string | null | undefined, path = "/"): string {
  return stringifySetCookie(name, "", {
    path,
    maxAge: 0,
    expires: new Date(0),
    ...(domain ? { domain } : {}),
  });
}
