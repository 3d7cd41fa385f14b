import type { Session, SessionExchange, SessionManager, SessionRequest, SessionTokens } from "@msm/core";
import { type AdoptedRequest, adoptPrevious, andThen, sessionRequestOf } from "@msm/core/node";
import type { Context } from "koa";
import { createWithoutSession } from "../before-opening.js";
import type { Behaviour } from "../behaviour.js";
import { emitLater } from "../koa-events.js";
import type { OpenedSession } from "../opened-session.js";
import { valuesOf } from "../session-object.js";
import type { ResolvedNodes } from "./nodes-options.js";
import { NodesSession, type SessionHome } from "./nodes-session.js";
import type { FormerSessions } from "./previous.js";

const asItIs = (request: SessionRequest): AdoptedRequest => ({ request, isFormerLeftOver: false });

/** Opens the sessions that msm keeps. */
export class Nodes implements SessionHome {
  readonly manager: SessionManager;
  /** What `locked` or `unlocked` said of requests whose session is not open yet. */
  readonly choices = new WeakMap<Context, boolean>();
  readonly behaviour: Behaviour;
  readonly shown: ResolvedNodes["shown"];
  readonly #former: FormerSessions | undefined;
  readonly #adopt: (request: SessionRequest) => AdoptedRequest | Promise<AdoptedRequest>;

  constructor({ manager, behaviour, former, shown }: ResolvedNodes) {
    this.manager = manager;
    this.#former = former;
    this.#adopt = former === undefined ? asItIs : adoptPrevious(manager, former);
    this.behaviour = behaviour;
    this.shown = shown;
  }

  /** Rejects where the session cannot be read, see `manager.open()`. */
  open(ctx: Context): OpenedSession | Promise<OpenedSession> {
    return andThen(this.#adopt(this.#requestOf(ctx)), ({ request, isFormerLeftOver }) => {
      const usable = andThen(this.manager.open(request), (exchange) => this.#usable(ctx, request, exchange));
      return andThen(usable, (exchange) => this.#begin(ctx, request, exchange, isFormerLeftOver));
    });
  }

  #begin(
    ctx: Context,
    request: SessionRequest,
    exchange: SessionExchange,
    isFormerLeftOver: boolean,
  ): OpenedSession {
    if (exchange.session === undefined) {
      void exchange.end();
      return createWithoutSession({ ...this.shown, maxAge: this.behaviour.maxAge });
    }
    if (isFormerLeftOver) this.#former?.forgetCookies(ctx);
    return new NodesSession(ctx, request, exchange, exchange.session, this);
  }

  forgetFormer(ctx: Context, { cookieHeader }: SessionRequest): void {
    const isThere = this.#former?.readId(cookieHeader) !== undefined;
    if (isThere && !ctx.headerSent) this.#former?.forgetCookies(ctx);
  }

  /** The id that a request names and its signature, if it has one, proves. */
  namedBy({ tokens = this.manager.tokens, cookieHeader }: SessionRequest): string | undefined {
    return tokens.read(cookieHeader)?.id;
  }

  #requestOf(ctx: Context): SessionRequest {
    const { newId } = this.behaviour;
    return sessionRequestOf(ctx.req, {
      url: ctx.originalUrl,
      secure: ctx.secure,
      routePattern: routePatternOf(ctx),
      lock: this.choices.get(ctx),
      newId: newId && (() => newId(ctx)),
      tokens: this.#tokensOf(ctx),
    });
  }

  /** The application's own way to carry an id carries nothing else: not on which node the session is. */
  #tokensOf(ctx: Context): SessionTokens | undefined {
    const { externalKey } = this.behaviour;
    if (externalKey === undefined) return undefined;
    const id = externalKey.get(ctx);
    const carried = id ? { id, value: id } : undefined;
    return { read: () => carried, value: (newId) => newId };
  }

  /** The exchange, or that of another session where the application refuses the one which was found. */
  #usable(
    ctx: Context,
    request: SessionRequest,
    exchange: SessionExchange,
  ): SessionExchange | Promise<SessionExchange> {
    const { session } = exchange;
    if (session === undefined) return exchange;
    if (session.isNew) {
      const key = this.namedBy(request);
      if (key !== undefined) emitLater(ctx, "missed", { key, value: undefined, ctx });
      return exchange;
    }
    return this.behaviour.valid === undefined ? exchange : this.#orAnother(ctx, request, exchange, session);
  }

  async #orAnother(
    ctx: Context,
    request: SessionRequest,
    exchange: SessionExchange,
    session: Session,
  ): Promise<SessionExchange> {
    try {
      if (this.#isValid(ctx, session)) return exchange;
    } catch (error) {
      await exchange.end();
      throw error;
    }
    // As in koa-session, what was found stays as it is: it may be valid for another client.
    await exchange.end();
    const { value } = request.tokens ?? this.manager.tokens;
    return this.manager.open({ ...request, tokens: { read: () => undefined, value } });
  }

  #isValid(ctx: Context, session: Session): boolean {
    const { valid } = this.behaviour;
    const { cookie: _, ...value } = valuesOf(session.attributes);
    if (valid === undefined || valid(ctx, value)) return true;
    emitLater(ctx, "invalid", { key: session.id, value, ctx });
    return false;
  }
}

/** Koa knows no routes; its router notes which one it found, where this middleware runs inside of it. */
function routePatternOf(ctx: Context): string | undefined {
  const pattern: unknown = ctx._matchedRoute;
  return typeof pattern === "string" ? pattern : undefined;
}
