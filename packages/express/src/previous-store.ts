import type { CipherKey } from "node:crypto";
import { MsmError } from "@msm/core";
import type { PreviousSession, PreviousSessions } from "@msm/core/node";
import { serialize } from "cookie";
import type { SessionData, Store } from "express-session";
import { cookieValues, idIn } from "./signed-cookie.js";

/** Where a site's sessions are under express-session, so that it changes over without logging anybody out. */
export interface PreviousOptions {
  /** The store that express-session was given. Sessions are read from it and end in it; none is written. */
  readonly store: Pick<Store, "get" | "destroy">;
  /** What signed the former cookie. Default: the option `secret`. */
  readonly secret?: CipherKey | readonly CipherKey[] | undefined;
  /** The former cookie's name. Default "connect.sid". */
  readonly name?: string | undefined;
  /** The former cookie's path and domain, by which browsers are told to forget it. Default "/" and none. */
  readonly cookie?: { readonly path?: string | undefined; readonly domain?: string | undefined } | undefined;
  /** The longest that the store is waited for, in milliseconds; then the request fails with 503. Default 2000. */
  readonly timeoutMs?: number | undefined;
}

/** The sessions that are in express-session's store. */
export interface FormerSessions extends PreviousSessions {
  /** The former cookie's name. */
  readonly cookieName: string;
  /** The Set-Cookie header that has the browser forget the former cookie. */
  readonly clearingHeader: string;
}

/**
 * Checks the option `previous`.
 * @param secrets those of the option `secret`
 * @throws MsmError MSM_ERR_OPTION
 */
export function formerSessions(options: PreviousOptions, secrets: readonly CipherKey[]): FormerSessions {
  const { store, name = "connect.sid", secret, cookie = {}, timeoutMs } = options;
  if (typeof store?.get !== "function" || typeof store.destroy !== "function") {
    throw wrong("previous.store must be a store of express-session, with get() and destroy()");
  }
  const verifying = secret ? ([secret].flat() as readonly CipherKey[]) : secrets;
  if (verifying.length === 0) throw wrong("previous.secret must be what signed the former cookie");
  const { path = "/", domain } = cookie;

  return {
    cookieName: name,
    clearingHeader: serialize(name, "", {
      path,
      ...(domain === undefined ? {} : { domain }),
      maxAge: 0,
      expires: new Date(0),
    }),
    readId(header) {
      for (const value of header === undefined ? [] : cookieValues(header, name)) {
        const id = idIn(value, verifying);
        if (id !== undefined) return id;
      }
      return undefined;
    },
    async load(id) {
      const found = await asked((callback) => store.get(id, callback));
      return found ? formerSession(found) : undefined;
    },
    async end(id) {
      await asked((callback) => store.destroy(id, callback));
    },
    timeoutMs,
  };
}

type StoreCallback = (error: unknown, value?: SessionData | null) => void;

/** Asks a store, which calls back, or gives a promise that rejects. */
function asked(call: (callback: StoreCallback) => unknown): Promise<SessionData | null | undefined> {
  return new Promise((resolve, reject) => {
    const returned = call((error, value) => {
      // That is how a store of files says that there is none (express-session asks for it as well).
      const isAbsent = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (error && !isAbsent) reject(error);
      else resolve(error ? undefined : value);
    });
    if (returned instanceof Promise) returned.catch(reject);
  });
}

function formerSession({ cookie, ...attributes }: SessionData): PreviousSession | undefined {
  const { originalMaxAge, expires } = (cookie ?? {}) as Partial<SessionData["cookie"]>;
  if (expires && new Date(expires).getTime() <= Date.now()) return undefined;
  return { attributes, cookieAgeMs: originalMaxAge ?? undefined };
}

const wrong = (message: string) => new MsmError("MSM_ERR_OPTION", message);
