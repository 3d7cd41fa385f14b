import { cookieAttribute, type PreviousSession, type PreviousSessions } from "@msm/core/node";
import type { Context } from "koa";
import { booleanOption, checkMethods, misplacedOption, wrongOption } from "../check.js";
import type { MaxAge } from "../opened-session.js";
import type { SessionStore, StoreDetails, StoredData } from "../options.js";
import { isPrivate } from "../session-object.js";
import { cookieValues, type KeySet, signedValues, type Verify, verifierOf } from "../signed-cookies.js";

/** How koa-session kept the sessions that clients still have: so that a site changes over without logging anybody out. */
export interface PreviousOptions {
  /** Its store. It gets no `ctx`, as it is asked for all requests of a session at once. Default: the sessions are in the cookies. */
  readonly store?: Pick<SessionStore, "get" | "destroy"> | undefined;
  /** Its cookie's name. Default "koa.sess". */
  readonly key?: string | undefined;
  /** What signed its cookies. Default `app.keys`. */
  readonly keys?: readonly string[] | KeySet | undefined;
  /** Whether its cookies are signed; those that sessions are in must be. Default true. */
  readonly signed?: boolean | undefined;
  /** Its `maxAge`. Default: ours. */
  readonly maxAge?: number | "session" | undefined;
  /** Its cookie's path. Default "/". */
  readonly path?: string | undefined;
  /** Its cookie's domain. Default none. */
  readonly domain?: string | undefined;
  /** The longest that the store is waited for, in milliseconds. Default 2000. */
  readonly timeoutMs?: number | undefined;
}

/** What a changed-over application knows of koa-session's cookies. */
export interface FormerSessions extends PreviousSessions {
  /** Has the browser forget koa-session's cookies. */
  forgetCookies(ctx: Context): void;
}

const oneDayMs = 24 * 60 * 60 * 1000;

/**
 * Reads what koa-session left behind.
 * @param keys the application's
 * @param ownMaxAge what cookies last without an age of their own
 * @throws MsmError MSM_ERR_OPTION
 */
export function formerSessions(options: PreviousOptions, keys: unknown, ownMaxAge: MaxAge): FormerSessions {
  const { store, key = "koa.sess", path, domain, timeoutMs } = options;
  const signed = booleanOption("previous.signed", options.signed, true);
  if (typeof key !== "string" || key === "") throw wrongOption("previous.key", "a cookie's name", key);
  if (store !== undefined) checkMethods("previous.store", store, ["get", "destroy"]);
  else if (!signed)
    throw misplacedOption(
      "previous.signed",
      false,
      "whatever a client puts into its cookie would be believed",
    );
  const verify = signed ? verifierFor(options.keys ?? keys) : undefined;
  const usualMaxAge = options.maxAge ?? ownMaxAge;
  const load = store === undefined ? readPayload : readStore(store, usualMaxAge);

  return {
    timeoutMs,
    // Two visitors who did the same have the same in their cookies.
    idsAreContent: store === undefined,
    readId(cookieHeader = "") {
      const [first] =
        verify === undefined ? cookieValues(cookieHeader, key) : signedValues(cookieHeader, key, verify);
      return first;
    },
    async load(id) {
      const data = await load(id);
      return isAlive(data) ? previousSession(data, usualMaxAge) : undefined;
    },
    async end(id) {
      await store?.destroy(id, withoutContext);
    },
    forgetCookies(ctx) {
      const settings = { overwrite: true, signed: false, ...(path && { path }), ...(domain && { domain }) };
      for (const name of signed ? [key, `${key}.sig`] : [key]) ctx.cookies.set(name, "", settings);
    },
  };
}

function verifierFor(keys: unknown): Verify {
  const verify = verifierOf(keys);
  if (verify === undefined)
    throw wrongOption("previous.keys", "a list of texts or a Keygrip, where app.keys are not set", keys);
  return verify;
}

const withoutContext = { rolling: false } as StoreDetails;

const readStore = (store: Pick<SessionStore, "get">, maxAge: MaxAge) => async (id: string) =>
  store.get(id, maxAge, withoutContext);

/** koa-session's default, where the session itself is in the cookie. What makes no sense counts as absent. */
async function readPayload(value: string): Promise<unknown> {
  try {
    return JSON.parse(Buffer.from(value, "base64").toString());
  } catch {
    return undefined;
  }
}

const isAlive = (data: unknown): data is StoredData => {
  if (typeof data !== "object" || data === null) return false;
  return !("_expire" in data) || typeof data._expire !== "number" || data._expire >= Date.now();
};

/** Names that the core has for itself, or has no values under. */
const refused: ReadonlySet<string> = new Set([cookieAttribute, "__proto__", "constructor", "prototype"]);

function previousSession(data: StoredData, usualMaxAge: MaxAge): PreviousSession {
  const attributes = Object.fromEntries(
    Object.entries(data).filter(([name]) => !isPrivate(name) && !refused.has(name)),
  );
  const { _maxAge, _session } = data;
  const usualMs = typeof usualMaxAge === "number" ? usualMaxAge : oneDayMs;
  if (_session === true) return { attributes, ...(usualMaxAge === "session" ? {} : { cookieAgeMs: null }) };
  const isOwn = typeof _maxAge === "number" && _maxAge !== usualMs;
  return { attributes, ...(isOwn ? { cookieAgeMs: _maxAge } : {}) };
}
