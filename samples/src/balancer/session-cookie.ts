/** What the session cookie says to those who only pass it on: `<session id>-<node>-<mac>[.<route>]`. */
export interface SessionCookie {
  /** The first digits of the session id: enough to recognise it, too few to use it. */
  readonly shortId: string;
  /** The storage node that holds the session. */
  readonly node: string;
  /** The application process that owns the session; undefined in non-sticky clusters. */
  readonly route: string | undefined;
}

const shortIdDigits = 8;
const cookieValue = /^([0-9a-f]{48})-([A-Za-z0-9]+)-[\w-]{43}(?:\.([\w-]+))?$/;

/** Reads a Cookie header. Undefined where it has no session cookie of ours. */
export function readSessionCookie(header: string | undefined, name: string): SessionCookie | undefined {
  const value = header
    ?.split(";")
    .map((pair) => pair.trim())
    .find((pair) => pair.startsWith(`${name}=`))
    ?.slice(name.length + 1);
  const [, id, node, route] = cookieValue.exec(value ?? "") ?? [];
  return id === undefined || node === undefined ? undefined : { shortId: shortIdOf(id), node, route };
}

/** A session id as it may be shown. */
export function shortIdOf(id: string): string {
  return id.slice(0, shortIdDigits);
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
