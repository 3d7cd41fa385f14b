import { hash } from "node:crypto";
import type { CarriedSession, SessionTokens } from "../cookie/session-tokens.js";
import { MsmError } from "../errors.js";
import type { SessionExchange, SessionRequest } from "../life-cycle/exchange.js";
import type { SessionManager } from "../manager.js";
import { milliseconds } from "../milliseconds.js";
import type { Attributes } from "../session/session.js";
import { newSessionId } from "../session/session-id.js";
import { setCookieAge } from "./cookie-age.js";

/** A session as the library had it that was used before. */
export interface PreviousSession {
  readonly attributes: Attributes;
  /** The age of its cookie in milliseconds; null: until the browser is closed. Default: as the options say. */
  readonly cookieAgeMs?: number | null | undefined;
}

/** The sessions of the library that was used before, which its clients' cookies still name. */
export interface PreviousSessions {
  /** The id that a request's former cookie names; undefined where there is none that verifies. Never throws. */
  readId(cookieHeader: string | undefined): string | undefined;
  /** A former session; undefined where there is none. Rejects where that cannot be known. */
  load(id: string): Promise<PreviousSession | undefined>;
  /** Ends a former session, once its successor is stored. */
  end(id: string): Promise<void>;
  /**
   * Whether an id is the session's content, as where the library kept sessions in the cookie itself: several clients may have
   * the same then, so each request goes on with a session of its own. Default false.
   */
  readonly idsAreContent?: boolean | undefined;
  /** The longest that `load` and `end` are waited for, in milliseconds. Default 2000. */
  readonly timeoutMs?: number | undefined;
}

/** A request that may go on with the session that its client had before. */
export interface AdoptedRequest {
  /** What to open: the request itself, or one that names the session by which the former one goes on. */
  readonly request: SessionRequest;
  /** True where the client has a cookie of both libraries: the former one is of no use any more, and can be cleared. */
  readonly isFormerLeftOver: boolean;
}

/**
 * Makes what lets clients go on with the sessions that they had under the library used before: so that a site changes over
 * without logging anybody out.
 *
 * Call it before `manager.open()`. A request that names a session of msm's is given back as it is. For one that has a cookie of the
 * former library instead, the former session is stored once as a session of msm's, under an id that is derived from
 * the former one, so that all processes and requests find the same; then the former one ends. A client whose answer got lost
 * finds its session by the former cookie again. (Where `idsAreContent`, each request begins anew with what its cookie holds.)
 *
 * @returns what rejects with MSM_ERR_STORAGE_UNAVAILABLE or _TIMEOUT where either storage cannot be reached: the former session may
 *   be there, and its client is not logged out
 */
export function adoptPrevious(
  manager: Pick<SessionManager, "open" | "tokens">,
  previous: PreviousSessions,
): (request: SessionRequest) => AdoptedRequest | Promise<AdoptedRequest> {
  const timeoutMs = milliseconds("previous.timeoutMs", previous.timeoutMs ?? 2000);
  /** By the id of the session that comes of it. */
  const underWay = new Map<string, Promise<void>>();

  return function adopt(request) {
    const tokens = request.tokens ?? manager.tokens;
    const former = previous.readId(request.cookieHeader);
    if (former === undefined) return { request, isFormerLeftOver: false };
    if (tokens.read(request.cookieHeader) !== undefined) return { request, isFormerLeftOver: true };

    const heir = { id: previous.idsAreContent === true ? newSessionId() : heirIdOf(former), value: "" };
    const isFormerLeftOver = false; // until the client is known to have the new one
    return once(former, heir, request).then(() => ({
      request: { ...request, tokens: naming(heir, tokens) },
      isFormerLeftOver,
    }));
  };

  /** Requests of one client come together: one of them does it, in this process. */
  function once(former: string, heir: CarriedSession, request: SessionRequest): Promise<void> {
    const running = underWay.get(heir.id);
    if (running !== undefined) return running;
    const adopting = goOnWith(former, heir, request).finally(() => underWay.delete(heir.id));
    underWay.set(heir.id, adopting);
    return adopting;
  }

  async function goOnWith(former: string, heir: CarriedSession, request: SessionRequest): Promise<void> {
    const found = await inTime(previous.load(former));
    if (found === undefined) return;
    await store(found, heir, request);
    // Where this fails, the request does: a session that is ended from now on must not be found there again.
    await inTime(previous.end(former));
  }

  async function store(found: PreviousSession, heir: CarriedSession, request: SessionRequest): Promise<void> {
    const { onClose: _, ...others } = request; // it is not for this client alone
    const tokens = naming(heir, manager.tokens);
    const exchange = await manager.open({ ...others, lock: false, tokens, newId: () => heir.id });
    try {
      await fill(exchange, found);
    } finally {
      await exchange.end();
    }
  }

  /** @throws MsmError where the session is not on a node afterwards */
  async function fill(exchange: SessionExchange, found: PreviousSession): Promise<void> {
    const { session } = exchange;
    if (session === undefined) throw notStored();
    if (!session.isNew) return; // another process was faster, and could not end the former one yet
    Object.assign(session.attributes, found.attributes);
    if (found.cookieAgeMs !== undefined) setCookieAge(session, found.cookieAgeMs);
    const { outcome, error } = await exchange.commit();
    if (outcome === "failed" || outcome === "kept") throw error ?? notStored();
  }

  async function inTime<T>(work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(silentError(timeoutMs)), timeoutMs);
    });
    try {
      return await Promise.race([work, limit]);
    } catch (thrown) {
      throw MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Of no use without the cookie's secret: as secret as the former id, and as unique. */
const heirIdOf = (former: string) => hash("sha256", `msm: the heir of ${former}`, "hex").slice(0, 48);

const naming = (heir: CarriedSession, { value }: SessionTokens): SessionTokens => ({
  read: () => heir,
  value,
});

const notStored = () =>
  new MsmError(
    "MSM_ERR_STORAGE_UNAVAILABLE",
    "the former session cannot be taken over, as no node can be reached",
  );

const silentError = (timeoutMs: number) =>
  new MsmError("MSM_ERR_STORAGE_TIMEOUT", `the former sessions' store did not answer within ${timeoutMs} ms`);
