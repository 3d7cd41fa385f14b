import type { PreviousSessions } from "@msm/core/node";
import type { SessionStore } from "../library.js";
import { SessionCookie } from "../session-cookie.js";
import type { SignedIdOptions, SignedIds } from "../signed-ids.js";
import { StoreCalls } from "../store/store-calls.js";

/** The sessions that @fastify/session had, so that nobody is logged out when a site changes over. */
export interface PreviousOptions extends SignedIdOptions {
  /** The store that @fastify/session used. */
  readonly store: SessionStore;
  /** The former cookie's path and domain, by which browsers are told to forget it. Default "/" and none. */
  readonly cookie?: { readonly path?: string; readonly domain?: string };
  /** The longest that the store is waited for, in milliseconds. Default 2000. */
  readonly timeoutMs?: number;
}

/** @fastify/session's sessions, and how its clients name them. */
export function previousSessions(options: PreviousOptions, ids: SignedIds): PreviousSessions {
  const { store, timeoutMs = 2000 } = options;
  const calls = new StoreCalls(store, timeoutMs);
  return {
    timeoutMs,
    readId: (cookieHeader) => ids.read(cookieHeader)?.id,
    async load(id) {
      const stored = await calls.get(id);
      if (stored === undefined) return undefined;
      const { cookie: storedCookie, sessionId: _1, encryptedSessionId: _2, ...attributes } = stored;
      const cookie = new SessionCookie((storedCookie ?? {}) as object, true);
      const isExpired = (cookie.originalExpires?.getTime() ?? Number.POSITIVE_INFINITY) <= Date.now();
      if (isExpired && !calls.canTouch) return undefined;
      return {
        attributes,
        ...(cookie.originalMaxAge === null ? {} : { cookieAgeMs: cookie.originalMaxAge }),
      };
    },
    end: (id) => calls.destroy(id),
  };
}
