import { createHash } from "node:crypto";

/** What stands in a session cookie: `<session id>-<node>-<mac>[.<route>]`. */
export interface ReadableCookie {
  readonly id: string;
  readonly node: string;
  readonly route: string | undefined;
}

/** Reads a cookie's value without checking it. @throws Error where it is none of ours */
export function readCookie(value: string): ReadableCookie {
  const [, id, node, route] = /^([0-9a-f]{48})-(\w+)-[\w-]{43}(?:\.([\w-]+))?$/.exec(value) ?? [];
  if (id === undefined || node === undefined) throw new Error(`this is no session cookie: ${value}`);
  return { id, node, route };
}

/** The value of the session cookie among the Set-Cookie headers; "" where it is cleared, undefined where none is set. */
export function sessionCookieIn(setCookies: readonly string[]): string | undefined {
  return setCookies.map((each) => /^sid=([^;]*)/.exec(each)?.[1]).find((value) => value !== undefined);
}

/** What the nodes call a session. */
export const digestOf = (id: string): string => createHash("sha256").update(id).digest("base64url");
