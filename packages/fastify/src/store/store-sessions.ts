import { MsmError, type SessionExchange } from "@msm/core";
import { UnheededCalls } from "@msm/core/node";
import type { FastifyRequest } from "fastify";
import type { LibraryCookieOptions, SessionStore } from "../library.js";
import type { Sessions, SessionTarget } from "../sessions.js";
import type { SignedId } from "../signed-ids.js";
import { StoreExchange } from "./store-exchange.js";
import { type StoreOptions, type StoreSettings, storeSettings } from "./store-settings.js";
import { type SessionHome, StoredSession } from "./stored-session.js";

/**
 * Sessions in a store of @fastify/session or express-session, by the rules of @fastify/session and with its cookie. The
 * store sets the limits: there are no locks, no failover and no merging here.
 */
export class StoreSessions implements Sessions {
  readonly cookiePath: string;
  readonly sessionStore: SessionStore;
  readonly #settings: StoreSettings;
  readonly #homes = new WeakMap<SessionTarget, SessionHome>();

  /** @throws MsmError MSM_ERR_OPTION on an option that makes no sense */
  constructor(options: StoreOptions) {
    this.#settings = storeSettings(options);
    this.cookiePath = this.#settings.cookie.path ?? "/";
    this.sessionStore = options.store;
  }

  async open(request: FastifyRequest): Promise<SessionExchange> {
    const { ids, cookie } = this.#settings;
    const cookieHeader = request.headers.cookie;
    const carried = ids.read(cookieHeader);
    const home = this.#homeOf(request as SessionTarget);
    home.target.session = await this.#find(home, carried, cookie);
    return new StoreExchange(home, carried, cookieHeader);
  }

  async decrypt(value: string, target: SessionTarget, cookie: LibraryCookieOptions): Promise<void> {
    const { ids, cookie: options } = this.#settings;
    const home = this.#homeOf(target);
    const verified = ids.verify(value) ?? ids.verify(ids.withoutPrefix(value));
    target.session = await this.#find(home, verified, { ...options, ...cookie });
  }

  /** The store's own, as the application would see it from @fastify/session. */
  errorFor(error: Error): Error {
    return error instanceof MsmError && error.cause instanceof Error ? error.cause : error;
  }

  async close(): Promise<void> {}

  async #find(
    home: SessionHome,
    carried: SignedId | undefined,
    cookie: LibraryCookieOptions,
  ): Promise<StoredSession> {
    const stored = carried && (await this.#settings.calls.get(carried.id));
    if (carried === undefined || stored === undefined) return new StoredSession(home, { cookie });

    const session = new StoredSession(home, { cookie, id: carried.id, stored });
    return StoredSession.isExpired(session) ? StoredSession.replaceExpired(session) : session;
  }

  #homeOf(target: SessionTarget): SessionHome {
    const known = this.#homes.get(target);
    if (known !== undefined) return known;
    const home = {
      target,
      settings: this.#settings,
      begunAt: this.#settings.ended.moment(),
      isDestroyed: false,
      calls: new UnheededCalls(),
    };
    this.#homes.set(target, home);
    return home;
  }
}
