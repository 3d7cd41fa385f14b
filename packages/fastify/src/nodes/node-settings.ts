import {
  type CommonOptions,
  type CookieOptions,
  longestTimeMs,
  type NonStickyOptions,
  type SessionManager,
  type SessionManagerOptions,
  type SessionTokens,
  type StickyOptions,
} from "@msm/core";
import type { FastifyRequest } from "fastify";
import type { LibraryOptions } from "../library.js";
import { Renewals } from "../renewals.js";
import type { CookieSource } from "../session-cookie.js";
import type { SessionTarget } from "../sessions.js";
import { SignedIds } from "../signed-ids.js";
import type { PreviousOptions } from "./previous.js";

/** `cookie` as msm takes it, and as @fastify/session does. */
export interface NodeCookieOptions extends Omit<CookieOptions, "sameSite"> {
  /** Default "lax"; true is "strict". */
  readonly sameSite?: CookieOptions["sameSite"] | true;
  /** As `maxAgeMs`: milliseconds. The idle timeout too, where `idleTimeoutMs` says nothing else. */
  readonly maxAge?: number;
  /** When the cookie ends, whoever gets it when. `maxAge` wins. */
  readonly expires?: Date;
}

/** What of @fastify/session's options there is with sessions on msm's nodes. */
interface SharedOptions extends Pick<LibraryOptions, "saveUninitialized" | "idGenerator"> {
  /**
   * Whether the cookie is sent again while the session is used; where it lasts, that is. Once it is `renewAfterMs` old, as far as
   * this process knows. Default true.
   */
  readonly rolling?: boolean;
  /** See `rolling`: milliseconds. Default: a tenth of the cookie's age, at most 60,000. */
  readonly renewAfterMs?: number;
  /** The sessions of @fastify/session, for clients that still have its cookie. Default: they begin anew. */
  readonly previous?: PreviousOptions;
}

/** Sessions on msm's nodes: the options of `createSessionManager()`, and @fastify/session's. */
export type NodesOptions = Omit<CommonOptions, "cookie"> &
  (StickyOptions | NonStickyOptions) &
  SharedOptions &
  Pick<LibraryOptions, "cookieName" | "cookiePrefix" | "algorithm"> & {
    readonly cookie?: NodeCookieOptions;
    readonly store?: undefined;
    readonly manager?: undefined;
  };

/** A manager that the application made itself, for instance in order to share it. */
export type ManagerOptions = SharedOptions & {
  /** Serves the sessions, and says what their cookie is. */
  readonly manager: SessionManager;
  readonly store?: undefined;
  readonly cookie?: undefined;
  readonly cookieName?: undefined;
};

/** What all sessions of one plugin on msm's nodes have in common. */
export interface NodeSettings {
  readonly cookieName: string;
  /** What `request.session.cookie` is made of. */
  readonly cookie: CookieSource;
  readonly priority: CookieOptions["priority"];
  readonly saveUninitialized: boolean;
  readonly rolling: boolean;
  readonly renewals: Renewals;
  /** Undefined: the manager's. */
  readonly tokens: SessionTokens | undefined;
  readonly newId: ((target: SessionTarget) => string) | undefined;
}

/** Fills in the defaults. @param manager where there is one already: what it says of its cookie are the defaults */
export function nodeSettings(options: NodesOptions | ManagerOptions, manager?: SessionManager): NodeSettings {
  const { idGenerator, saveUninitialized = false, rolling = true, renewAfterMs } = options;
  const {
    priority = manager?.cookie.priority,
    maxAgeMs,
    maxAge = maxAgeMs,
    name,
    ...cookie
  } = options.cookie ?? {};
  const cookieName = options.cookieName ?? name ?? manager?.cookie.name ?? "sessionId";
  return {
    cookieName,
    cookie: {
      sameSite: "lax",
      secure: "auto",
      ...(manager === undefined ? {} : sourceOf(manager.cookie)),
      ...cookie,
      ...(maxAge === undefined ? {} : { maxAge }),
    },
    priority,
    saveUninitialized,
    rolling,
    renewals: new Renewals(renewAfterMs),
    tokens: tokensOf(options, cookieName),
    newId: idGenerator && ((target) => idGenerator(target as FastifyRequest)),
  };
}

/** The options of the manager that serves these options. */
export function managerOptions(
  options: NodesOptions,
  { cookieName, cookie }: NodeSettings,
): SessionManagerOptions {
  const {
    cookieName: _1,
    cookiePrefix: _2,
    algorithm: _3,
    saveUninitialized: _4,
    rolling: _5,
    renewAfterMs: _6,
    idGenerator: _7,
    previous: _8,
    cookie: { maxAge: _9, expires: _10, sameSite = "lax", ...given } = {},
    ...others
  } = options;
  // "For ever" is a common wish.
  const maxAge = cookie.maxAge === undefined ? undefined : Math.min(cookie.maxAge, longestTimeMs);
  return {
    ...(maxAge === undefined ? {} : { idleTimeoutMs: maxAge }),
    ...others,
    cookie: {
      ...given,
      name: cookieName,
      sameSite: sameSite === true ? "strict" : sameSite,
      ...(maxAge === undefined ? {} : { maxAgeMs: maxAge }),
    },
  };
}

function sourceOf(cookie: SessionManager["cookie"]): CookieSource {
  const { path, domain, httpOnly, secure, sameSite, maxAgeMs, partitioned } = cookie;
  return {
    ...{ path, httpOnly, secure, sameSite, partitioned },
    ...(domain === undefined ? {} : { domain }),
    ...(maxAgeMs === undefined ? {} : { maxAge: maxAgeMs }),
  };
}

/** @fastify/session's cookie instead of msm's, where the options speak of it. */
function tokensOf(options: NodesOptions | ManagerOptions, cookieName: string): SessionTokens | undefined {
  if (!("secret" in options)) return undefined;
  const { secret, cookiePrefix, algorithm } = options;
  if (cookiePrefix === undefined && algorithm === undefined) return undefined;
  const ids = new SignedIds({
    cookieName,
    secret: typeof secret === "string" ? secret : [...secret],
    ...(cookiePrefix === undefined ? {} : { cookiePrefix }),
    ...(algorithm === undefined ? {} : { algorithm }),
  });
  return {
    read(cookieHeader) {
      const found = ids.read(cookieHeader);
      return found && { id: found.id, value: ids.cookieValue(found.signed) };
    },
    value: (id) => ids.cookieValue(ids.sign(id)),
  };
}
