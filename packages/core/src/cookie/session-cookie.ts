import { createHmac, timingSafeEqual } from "node:crypto";
import { serialize } from "cookie";
import type { Clock } from "../clock.js";
import type { ResolvedCookieOptions } from "../options.js";
import { isSessionId } from "../session/session-id.js";

/** What a verified session cookie says. */
export interface SessionCookie {
  readonly id: string;
  /** Id of the node that held the session's record when the cookie was made. */
  readonly node: string;
  /** Sticky: the process that the balancer sends the client to. Not covered by the MAC: believe nothing of it. */
  readonly route: string | undefined;
  /** The whole value, as the client sent it. */
  readonly value: string;
}

/** What `SessionCookies.header` needs to know beside the session. */
interface CookieHeaderContext {
  /** Whether the request came in over TLS. */
  readonly secure: boolean;
  /** Milliseconds the browser shall keep this cookie, where it is other than the option says. */
  readonly maxAgeMs?: number | undefined;
}

/** Reads and writes the session cookie: `<48 hex>-<node>-<MAC, 43 base64url>[.<route>]`. */
export interface SessionCookies {
  /** The first cookie of the header that verifies, of the first four that bear the name. Never throws. */
  read(cookieHeader: string | undefined): SessionCookie | undefined;
  /** The value that announces a session. */
  value(id: string, node: string, route: string | undefined): string;
  /** The Set-Cookie header for a value. */
  header(value: string, context: CookieHeaderContext): string;
  /** The Set-Cookie header that makes the browser forget the session. */
  clearingHeader(context: CookieHeaderContext): string;
}

const idLength = 48;
const macLength = 43;
const mostCandidates = 4;
const nodePattern = /^[A-Za-z0-9]{1,16}$/;
const routePattern = /^[\w-]{1,32}$/;

/** Makes the reader and writer for one cookie name and list of keys. */
export function createSessionCookies(
  options: ResolvedCookieOptions,
  keys: readonly Buffer[],
  clock: Clock,
): SessionCookies {
  const sign = (payload: string, key: Buffer) =>
    createHmac("sha256", key).update(payload).digest("base64url");
  const verifies = (payload: string, mac: string) =>
    keys.some((key) =>
      timingSafeEqual(Buffer.from(sign(payload, key), "latin1"), Buffer.from(mac, "latin1")),
    );

  return {
    read(cookieHeader) {
      if (cookieHeader === undefined) return undefined;
      for (const value of cookieValues(cookieHeader, options.name, mostCandidates)) {
        const parts = split(value);
        if (parts !== undefined && verifies(parts.payload, parts.mac)) {
          return { id: parts.id, node: parts.node, route: parts.route, value };
        }
      }
      return undefined;
    },
    value(id, node, route) {
      const payload = `${id}-${node}`;
      return `${payload}-${sign(payload, keys[0]!)}${route === undefined ? "" : `.${route}`}`;
    },
    header(value, { secure, maxAgeMs = options.maxAgeMs }) {
      return serialize(options.name, value, {
        ...attributes(secure),
        ...(maxAgeMs === undefined
          ? {}
          : { maxAge: Math.floor(maxAgeMs / 1000), expires: new Date(clock.now() + maxAgeMs) }),
      });
    },
    clearingHeader: ({ secure }) =>
      serialize(options.name, "", { ...attributes(secure), maxAge: 0, expires: new Date(0) }),
  };

  function attributes(requestIsSecure: boolean) {
    const { path, domain, httpOnly, sameSite, partitioned, priority } = options;
    return {
      path,
      httpOnly,
      sameSite,
      partitioned,
      secure: options.secure === "auto" ? requestIsSecure : options.secure,
      ...(domain === undefined ? {} : { domain }),
      ...(priority === undefined ? {} : { priority }),
    };
  }
}

/** The MAC has a fixed length of ASCII, so both sides of `timingSafeEqual` do; the pattern of `split` sees to that. */
const macPattern = /^[\w-]{43}$/;

function split(value: string) {
  if (value.length > idLength + macLength + 64) return undefined;
  const id = value.slice(0, idLength);
  const hyphen = value.indexOf("-", idLength + 1);
  if (value[idLength] !== "-" || hyphen === -1 || !isSessionId(id)) return undefined;

  const node = value.slice(idLength + 1, hyphen);
  const macEnd = hyphen + 1 + macLength;
  const mac = value.slice(hyphen + 1, macEnd);
  if (!nodePattern.test(node) || !macPattern.test(mac)) return undefined;

  const rest = value.slice(macEnd);
  if (rest !== "" && (rest[0] !== "." || !routePattern.test(rest.slice(1)))) return undefined;
  return { id, node, mac, route: rest === "" ? undefined : rest.slice(1), payload: `${id}-${node}` };
}

/** Values of the cookies with this name, in order. Our values need no decoding, so an encoded one simply fails later. */
function cookieValues(header: string, name: string, most: number): string[] {
  const values: string[] = [];
  let at = 0;
  while (at < header.length && values.length < most) {
    const semicolon = header.indexOf(";", at);
    const end = semicolon === -1 ? header.length : semicolon;
    const equals = header.indexOf("=", at);
    if (equals !== -1 && equals < end && header.slice(at, equals).trim() === name) {
      values.push(header.slice(equals + 1, end).trim());
    }
    at = end + 1;
  }
  return values;
}
