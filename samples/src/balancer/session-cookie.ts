import { sessionName } from "../session-name.js";

/** What the session cookie says to those who only pass it on: `<session id>-<node>-<mac>[.<route>]`. */
export interface SessionCookie {
  /** What the session may be called: a short hash of its id. */
  readonly session: string;
  /** The storage node that holds the session. */
  readonly node: string;
  /** The application process that owns the session; undefined in non-sticky clusters. */
  readonly route: string | undefined;
}

const cookieValue = /^([0-9a-f]{48})-([A-Za-z0-9]+)-[\w-]{43}(?:\.([\w-]+))?$/;

/** Reads a Cookie header. Undefined where it has no session cookie of ours. */
export function readSessionCookie(header: string | undefined, name: string): SessionCookie | undefined {
  const value = header
    ?.split(";")
    .map((pair) => pair.trim())
    .find((pair) => pair.startsWith(`${name}=`))
    ?.slice(name.length + 1);
  const [, id, node, route] = cookieValue.exec(value ?? "") ?? [];
  return id === undefined || node === undefined ? undefined : { session: sessionName(id), node, route };
}

/**
 * The session that a client has after a response.
 * @param before what its request brought along
 * @returns `before` where the response leaves the cookie alone; undefined where it takes it away
 */
export function sessionAfter(
  before: SessionCookie | undefined,
  setCookies: readonly string[],
  name: string,
): SessionCookie | undefined {
  const set = setCookies.filter((each) => each.startsWith(`${name}=`)).at(-1);
  return set === undefined ? before : readSessionCookie(set.split(";", 1)[0], name);
}
