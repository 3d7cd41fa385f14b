import { longestTimeMs, type Session } from "@msm/core";
import { cookieAttribute, isStoredCookie, type StoredCookie as StoredAge } from "@msm/core/node";
import { type SerializeOptions, serialize } from "cookie";
import expressSession, { type Cookie } from "express-session";
import { type GivenCookie, newCookie, originalAgeMsOf } from "./cookie-options.js";

/** What the cookies of one request's session are made of. */
export interface CookieSource {
  /** The options, with their defaults. */
  readonly given: GivenCookie;
  /** Whether the options may be others for the session's next request, so that the session has to remember these. */
  readonly isOfRequest: boolean;
  /** Whether the request came in over TLS. */
  readonly requestIsSecure: boolean;
  /** How long a session lives that begins with this cookie; undefined: as the manager's options say. */
  readonly idleTimeoutMs: number | undefined;
}

/** What the application may change of a session's cookie, beside its age. */
const attributes = ["path", "domain", "secure", "httpOnly", "sameSite", "partitioned", "priority"] as const;

type AttributeName = (typeof attributes)[number];

/**
 * What a session remembers of its cookie, as express-session does. What is absent is as the options say; null: none, though
 * the options have one.
 */
type StoredCookie = StoredAge & { readonly [name in AttributeName]?: unknown } & {
  /** When the browser forgets it, as it was sent last; ISO 8601. Known only where that is asked for. */
  readonly expires?: unknown;
};

/** The cookie of one request's session: as the application sees and changes it, as the session remembers it, as it is sent. */
export class SessionCookie {
  readonly #session: Session;
  readonly #source: CookieSource;
  #shown: Cookie | undefined;
  /** The attributes that `#shown` began with. */
  #before: Record<string, unknown> = {};

  constructor(session: Session, source: CookieSource) {
    this.#session = session;
    this.#source = source;
  }

  /** express-session's cookie object. A change of its age is one of the session's at once. */
  get shown(): Cookie {
    this.#shown ??= this.#make();
    return this.#shown;
  }

  /** Whether the browser keeps it when it is closed. */
  get lasts(): boolean {
    return this.#ageMs !== null;
  }

  /** Has the session remember what the application changed. */
  remember(): void {
    const cookie = this.#shown;
    if (cookie === undefined) return;
    if (attributes.some((name) => cookie[name] !== this.#before[name])) this.rememberAll();
  }

  /**
   * Where less than half is left of its age, as far as the session remembers, it is to be sent again, and the session
   * remembers that. @returns whether it is so
   */
  renewIfHalfOver(): boolean {
    const ageMs = this.#ageMs;
    if (ageMs === null || ageMs <= 0) return false;
    const now = Date.now();
    const expiresMs = Date.parse(String(this.#stored?.expires));
    if (expiresMs - now >= ageMs / 2) return false;
    this.rememberAll(new Date(now + ageMs).toISOString());
    return true;
  }

  /** Has the session remember its cookie as it is: the session is not empty from then on. */
  rememberAll(expires?: string): void {
    const { given, isOfRequest, requestIsSecure } = this.#source;
    const cookie = this.shown;
    const usual = newCookie(given, requestIsSecure);
    const others = attributes.filter((name) => isOfRequest || cookie[name] !== usual[name]);
    this.#before = pick(cookie);
    this.#session.attributes[cookieAttribute] = {
      originalMaxAge: cookie.originalMaxAge,
      ...(expires === undefined ? {} : { expires }),
      ...Object.fromEntries(others.map((name) => [name, cookie[name] ?? null])),
    };
  }

  /** True where the session remembers its cookie. */
  get isRemembered(): boolean {
    return this.#stored !== undefined;
  }

  /** The Set-Cookie header; undefined where it is for requests over TLS, and this one is not. */
  header(name: string, value: string): string | undefined {
    const ageMs = this.#ageMs;
    return this.#serialized(name, value, ageMs === null ? undefined : Math.min(ageMs, longestTimeMs));
  }

  /** The Set-Cookie header that has the browser forget the cookie. */
  clearingHeader(name: string): string | undefined {
    return this.#serialized(name, "", undefined, { maxAge: 0, expires: new Date(0) });
  }

  #serialized(
    name: string,
    value: string,
    ageMs: number | undefined,
    age = ageMs === undefined
      ? {}
      : { maxAge: Math.floor(ageMs / 1000), expires: new Date(Date.now() + ageMs) },
  ): string | undefined {
    const attributes = this.#attributes;
    if (attributes.secure === true && !this.#source.requestIsSecure) return undefined;
    return serialize(name, value, { ...attributes, ...age, encode: asItIs });
  }

  get #attributes(): SerializeOptions {
    const isUsual = this.#shown === undefined && this.#stored === undefined;
    return isUsual ? usualAttributes(this.#source) : attributesOf(this.shown);
  }

  /** Milliseconds; null: until the browser is closed. */
  get #ageMs(): number | null {
    const stored = this.#stored;
    if (stored !== undefined) return stored.originalMaxAge;
    return this.#shown === undefined ? originalAgeMsOf(this.#source.given) : this.#shown.originalMaxAge;
  }

  get #stored(): StoredCookie | undefined {
    const stored: unknown = this.#session.attributes[cookieAttribute];
    return isStoredCookie(stored) ? stored : undefined;
  }

  #make(): Cookie {
    const { given, requestIsSecure } = this.#source;
    const stored = this.#stored;
    const cookie = newCookie(given, requestIsSecure);
    if (stored !== undefined) {
      for (const name of attributes) {
        if (stored[name] !== undefined) Object.assign(cookie, { [name]: stored[name] ?? undefined });
      }
      setAge(cookie, stored.originalMaxAge);
    }
    this.#before = pick(cookie);
    watchAge(cookie, (ageMs) => this.#takeAge(ageMs));
    return cookie;
  }

  #takeAge(ageMs: number | null): void {
    this.rememberAll();
    if (ageMs === null || ageMs <= 0) return;
    // "For ever" is a common wish.
    this.#session.idleTimeoutMs = Math.min(ageMs, longestTimeMs);
  }
}

/** The token is written as a cookie may hold it. */
const asItIs = (value: string) => value;

const pick = (cookie: Cookie) => Object.fromEntries(attributes.map((name) => [name, cookie[name]]));

const attributesOf = (cookie: Cookie): SerializeOptions =>
  Object.fromEntries(
    Object.entries(pick(cookie)).filter(([, value]) => value !== undefined && value !== null),
  );

/** By the options: the attributes of a cookie that nobody changed, for requests without TLS and with it. */
const usual = new WeakMap<
  GivenCookie,
  { readonly plain: SerializeOptions; readonly secure: SerializeOptions }
>();

function usualAttributes({ given, requestIsSecure }: CookieSource): SerializeOptions {
  let known = usual.get(given);
  if (known === undefined) {
    known = { plain: attributesOf(newCookie(given, false)), secure: attributesOf(newCookie(given, true)) };
    usual.set(given, known);
  }
  return requestIsSecure ? known.secure : known.plain;
}

/** Copies what the application may change. */
export function copyCookie(from: Cookie, to: Cookie): void {
  for (const name of attributes) if (to[name] !== from[name]) Object.assign(to, { [name]: from[name] });
  const { originalMaxAge } = from;
  if (to.originalMaxAge !== originalMaxAge) setAge(to, originalMaxAge);
}

function setAge(cookie: Cookie, maxAgeMs: number | null): void {
  // Types know numbers only; null, for a cookie of the browser's session, is what the class itself begins with.
  cookie.maxAge = (maxAgeMs ?? null) as number;
  cookie.originalMaxAge = maxAgeMs ?? null;
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
        if (cookie.originalMaxAge === knownMs) return;
        knownMs = cookie.originalMaxAge;
        onAgeChange(knownMs);
      },
      configurable: true,
    },
  });
}
