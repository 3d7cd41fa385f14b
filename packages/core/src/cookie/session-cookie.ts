import { timingSafeEqual } from "node:crypto";
import { serialize } from "cookie";
import type { Clock } from "../clock.js";
import { MacKey } from "../mac.js";
import type { ResolvedCookieOptions } from "../options.js";
import { RecentMap } from "../recent-map.js";
import { identify, isSessionId, longestIdChars, type SessionIdentity } from "../session/session-id.js";
import type { CarriedSession, SessionTokens } from "./session-tokens.js";

/** What `SessionCookies.header` needs to know beside the session. */
interface CookieHeaderContext {
  /** Whether the request came in over TLS. */
  readonly secure: boolean;
  /** Milliseconds the browser shall keep this cookie; undefined: until it is closed. */
  readonly maxAgeMs?: number | undefined;
}

/**
 * Reads and writes the session cookie: `<session id>-<node>-<MAC, 43 base64url>[.<route>]`. Of the first four cookies that
 * bear the name, the first that verifies is read. The MAC covers all but the route.
 */
export interface SessionCookies extends SessionTokens {
  /** The Set-Cookie header for a value. */
  header(value: string, context: CookieHeaderContext): string;
  /** The Set-Cookie header that makes the browser forget the session. */
  clearingHeader(context: CookieHeaderContext): string;
}

const mostCandidates = 4;

/** MACs that are remembered, of those used last: most requests come with a cookie that was seen before. */
const mostRemembered = 8192;

/** Makes the reader and writer for one cookie name and list of keys. */
export function createSessionCookies(
  options: ResolvedCookieOptions,
  keys: readonly Buffer[],
  clock: Clock,
): SessionCookies {
  /** By the cookie's whole value: a value that differs in one character is another one, and verified as any. */
  const verified = new RecentMap<string, CarriedSession>(mostRemembered);
  /** By what they cover: MACs by the first key. */
  const signed = new RecentMap<string, string>(mostRemembered);
  const macKeys = keys.map((key) => new MacKey(key));
  const sign = (payload: string, key: MacKey) => key.of([payload], "base64url");
  const verifies = ({ payload, mac }: ValueParts, key: MacKey) =>
    timingSafeEqual(Buffer.from(sign(payload, key), "latin1"), Buffer.from(mac, "latin1"));

  const attributeTexts = new AttributeTexts(
    (secure, maxAgeMs, nowMs) =>
      serialize(options.name, "", {
        ...attributes(secure),
        ...(maxAgeMs === undefined
          ? {}
          : { maxAge: Math.floor(maxAgeMs / 1000), expires: new Date(nowMs + maxAgeMs) }),
      }).slice(options.name.length + 1),
    clock,
  );

  return {
    read(cookieHeader) {
      if (cookieHeader === undefined) return undefined;
      for (const value of cookieValues(cookieHeader, options.name, mostCandidates)) {
        const carried = verified.get(value) ?? verify(value);
        if (carried !== undefined) return carried;
      }
      return undefined;
    },
    value(id, node, route) {
      const payload = `${id}-${node}`;
      return `${payload}-${signOnce(payload)}${route === undefined ? "" : `.${route}`}`;
    },
    header(value, { secure, maxAgeMs }) {
      return cookieOctets.test(value)
        ? `${options.name}=${value}${attributeTexts.behind(secure, maxAgeMs)}`
        : serialize(options.name, value, { ...attributes(secure), encode: asItIs }); // says what is wrong with it
    },
    clearingHeader: ({ secure }) =>
      serialize(options.name, "", { ...attributes(secure), maxAge: 0, expires: new Date(0) }),
  };

  function verify(value: string): CarriedSession | undefined {
    const parts = split(value);
    const key = parts && macKeys.find((each) => verifies(parts, each));
    if (key === undefined) return undefined;
    // Texts of its own: as pieces of the header, they would keep the whole of that in memory.
    const own = Buffer.from(value, "latin1").toString("latin1");
    const carried = new VerifiedCookie(split(own)!, own, key === macKeys[0]);
    verified.set(own, carried);
    return carried;
  }

  function signOnce(payload: string): string {
    const known = signed.get(payload);
    if (known !== undefined) return known;
    const mac = sign(payload, macKeys[0]!);
    signed.set(payload, mac);
    return mac;
  }

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

/** What a cookie's value may be made of (cookie-octet, RFC 6265 section 4.1.1). */
const cookieOctets = /^[!#-+\--:<-[\]-~]+$/;

/** What stands behind a cookie's value. It is the same for all cookies of a second, and mostly for all. */
class AttributeTexts {
  readonly #make: (secure: boolean, maxAgeMs: number | undefined, nowMs: number) => string;
  readonly #clock: Clock;
  #last:
    | { readonly secure: boolean; readonly maxAgeMs: number | undefined; readonly second: number }
    | undefined;
  #text = "";

  constructor(make: (secure: boolean, maxAgeMs: number | undefined, nowMs: number) => string, clock: Clock) {
    this.#make = make;
    this.#clock = clock;
  }

  behind(secure: boolean, maxAgeMs: number | undefined): string {
    const nowMs = maxAgeMs === undefined ? 0 : this.#clock.now();
    // `Expires` names a second.
    const second = Math.floor((nowMs + (maxAgeMs ?? 0)) / 1000);
    const last = this.#last;
    if (
      last === undefined ||
      last.secure !== secure ||
      last.maxAgeMs !== maxAgeMs ||
      last.second !== second
    ) {
      this.#last = { secure, maxAgeMs, second };
      this.#text = this.#make(secure, maxAgeMs, nowMs);
    }
    return this.#text;
  }
}

/**
 * Read from its end, as an id of the application's own may hold anything, hyphens and dots included. The MAC has a fixed length of
 * ASCII, so both sides of `timingSafeEqual` do.
 */
const valuePattern = /^(.+)-([A-Za-z0-9]{1,16})-([\w-]{43})(?:\.([\w-]{1,32}))?$/;

interface ValueParts {
  readonly id: string;
  readonly node: string;
  readonly mac: string;
  readonly route: string | undefined;
  /** What the MAC covers. */
  readonly payload: string;
}

/** A cookie that is remembered, and with it what was derived from it once. */
class VerifiedCookie implements CarriedSession {
  readonly id: string;
  readonly node: string;
  readonly route: string | undefined;
  readonly value: string;
  readonly isCurrent: boolean;
  #identity: SessionIdentity | undefined;

  constructor({ id, node, route }: ValueParts, value: string, isCurrent: boolean) {
    this.id = id;
    this.node = node;
    this.route = route;
    this.value = value;
    this.isCurrent = isCurrent;
  }

  get identity(): SessionIdentity {
    this.#identity ??= identify(this.id);
    return this.#identity;
  }
}

function split(value: string): ValueParts | undefined {
  if (value.length > longestIdChars + 43 + 64) return undefined;
  const [, id, node, mac, route] = valuePattern.exec(value) ?? [];
  if (id === undefined || node === undefined || mac === undefined || !isSessionId(id)) return undefined;
  return { id, node, mac, route, payload: `${id}-${node}` };
}

/** A value of ours, as one of the application's tokens, holds nothing that a cookie may not. */
const asItIs = (value: string) => value;

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
