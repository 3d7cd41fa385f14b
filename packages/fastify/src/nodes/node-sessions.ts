import {
  createSessionManager,
  MsmError,
  type SessionExchange,
  type SessionManager,
  type SessionRequest,
} from "@msm/core";
import { type AdoptedRequest, adoptPrevious, andThen, sessionRequestOf } from "@msm/core/node";
import type { FastifyReply, FastifyRequest } from "fastify";
import { clearingHeader } from "../cookie-header.js";
import type { LibraryCookieOptions, SessionStore } from "../library.js";
import { isSecure, type Opening, type Sessions, type SessionTarget } from "../sessions.js";
import { SignedIds } from "../signed-ids.js";
import { managerStore } from "./manager-store.js";
import { NodeSession, type SessionHome } from "./node-session.js";
import {
  type ManagerOptions,
  managerOptions,
  type NodeSettings,
  type NodesOptions,
  nodeSettings,
} from "./node-settings.js";
import { type PreviousOptions, previousSessions } from "./previous.js";

/** The former library's sessions, and its cookie. */
interface Previous {
  readonly adopt: ReturnType<typeof adoptPrevious>;
  readonly cookieName: string;
  /** The Set-Cookie header that has the browser forget that cookie. */
  readonly clearingHeader: string;
}

/** Sessions on msm's nodes: what a request does with its session is the manager's affair, this translates. */
export class NodeSessions implements Sessions, SessionHome {
  readonly cookiePath: string;
  readonly sessionStore: SessionStore;
  readonly manager: SessionManager;
  readonly settings: NodeSettings;
  readonly #previous: Previous | undefined;
  readonly #close: () => Promise<void>;

  /** @throws MsmError MSM_ERR_OPTION on an option that makes no sense */
  static on(options: NodesOptions): NodeSessions {
    const settings = nodeSettings(options);
    const manager = createSessionManager(managerOptions(options, settings));
    return new NodeSessions(manager, settings, options.previous, () => manager.close());
  }

  /** With a manager of the application's, which closes it. */
  static of(options: ManagerOptions): NodeSessions {
    const { manager, previous, cookie, cookieName } = options;
    if (cookie !== undefined || cookieName !== undefined) {
      throw new MsmError(
        "MSM_ERR_OPTION",
        "cookie and cookieName are the manager's: give createSessionManager() the cookie, with its name",
      );
    }
    return new NodeSessions(manager, nodeSettings(options, manager), previous, async () => {});
  }

  private constructor(
    manager: SessionManager,
    settings: NodeSettings,
    previous: PreviousOptions | undefined,
    close: () => Promise<void>,
  ) {
    this.manager = manager;
    this.settings = settings;
    this.#close = close;
    this.cookiePath = settings.cookie.path ?? "/";
    this.sessionStore = managerStore(manager, settings.cookie);
    if (previous !== undefined) this.#previous = previousOf(manager, previous);
  }

  open(request: FastifyRequest, reply: FastifyReply): Opening | Promise<Opening> {
    const asked = this.#requestOf(request);
    if (this.#previous !== undefined) {
      return andThen(this.#previous.adopt(asked), (adopted) => this.#openAdopted(adopted, request, reply));
    }
    const opening = this.manager.open(asked);
    if (opening instanceof Promise) return this.#putWhenOpen(opening, request, asked);
    return this.#put(opening, request as SessionTarget, asked.cookieHeader);
  }

  async #putWhenOpen(
    opening: Promise<SessionExchange>,
    request: FastifyRequest,
    { cookieHeader }: SessionRequest,
  ): Promise<Opening> {
    return this.#put(await opening, request as SessionTarget, cookieHeader);
  }

  async #openAdopted(
    { request: asked, isFormerLeftOver }: AdoptedRequest,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<Opening> {
    const exchange = await this.manager.open(asked);
    if (isFormerLeftOver) this.#clearFormerCookie(reply);
    return this.#put(exchange, request as SessionTarget, asked.cookieHeader);
  }

  #requestOf(request: FastifyRequest): SessionRequest {
    const { url: routePattern, config } = request.routeOptions;
    return sessionRequestOf(request.raw, {
      url: request.originalUrl,
      secure: isSecure(request),
      routePattern,
      lock: config?.sessionLock,
      tokens: this.settings.tokens,
      newId: this.#newIdFor(request as SessionTarget),
    });
  }

  async decrypt(value: string, target: SessionTarget, cookie: LibraryCookieOptions): Promise<void> {
    const { cookieName, tokens, newId } = this.settings;
    const cookieHeader = `${cookieName}=${value}`;
    const exchange = await this.manager.open({
      method: "",
      url: "",
      cookieHeader,
      secure: isSecure(target),
      lock: false,
      ...(tokens === undefined ? {} : { tokens }),
      ...(newId === undefined ? {} : { newId: () => newId(target) }),
    });
    // No response ends it; `save()` saves under the version check all the same.
    await exchange.end();
    this.#put(exchange, target, cookieHeader)?.setCookieOptions(cookie);
  }

  errorFor(error: Error): Error {
    return error;
  }

  close(): Promise<void> {
    return this.#close();
  }

  #put(
    exchange: SessionExchange,
    target: SessionTarget,
    cookieHeader: string | undefined,
  ): NodeSession | undefined {
    if (exchange.session !== undefined)
      return new NodeSession(target, exchange, exchange.session, this, cookieHeader);
    target.session = null;
    void exchange.end();
    return undefined;
  }

  #newIdFor(target: SessionTarget): (() => string) | undefined {
    const { newId } = this.settings;
    return newId && (() => newId(target));
  }

  /** Where both libraries' cookies have one name, ours has taken the former one's place. */
  #clearFormerCookie(reply: FastifyReply): void {
    const previous = this.#previous;
    if (previous === undefined || previous.cookieName === this.settings.cookieName) return;
    void reply.header("set-cookie", previous.clearingHeader);
  }
}

function previousOf(manager: SessionManager, options: PreviousOptions): Previous {
  const ids = new SignedIds(options);
  const { path, domain } = options.cookie ?? {};
  return {
    adopt: adoptPrevious(manager, previousSessions(options, ids)),
    cookieName: ids.name,
    clearingHeader: clearingHeader(ids.name, domain, path),
  };
}
