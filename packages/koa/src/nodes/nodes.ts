import type { Session, SessionExchange, SessionManager, SessionRequest, SessionTokens } from "@msm/core";
import { type AdoptedRequest, adoptPrevious, sessionRequestOf } from "@msm/core/node";
import type { Context } from "koa";
import { createWithoutSession } from "../before-opening.js";
import type { Behaviour } from "../behaviour.js";
import { emitLater } from "../koa-events.js";
import type { OpenedSession } from "../opened-session.js";
import type { ExternalKey } from "../options.js";
import { valuesOf } from "../session-object.js";
import type { ResolvedNodes } from "./nodes-options.js";
import { NodesSession, type SessionHome } from "./nodes-session.js";
import type { FormerSessions } from "./previous.js";

/** Opens the sessions that msm keeps. */
export class Nodes implements SessionHome {
  readonly manager: SessionManager;
  /** What `locked` or `unlocked` said of requests whose session is not open yet. */
  readonly choices = new WeakMap<Context, boolean>();
  readonly behaviour: Behaviour;
  readonly shown: ResolvedNodes["shown"];
  readonly #former: FormerSessions | undefined;
  /** Undefined where no library was used before. */
  readonly #adopt: ReturnType<typeof adoptPrevious> | undefined;

  constructor({ manager, behaviour, former, shown }: ResolvedNodes) {
    this.manager = manager;
    this.#former = former;
    this.#adopt = former && adoptPrevious(manager, former);
    this.behaviour = behaviour;
    this.shown = shown;
  }

  /** Rejects where the session cannot be read, see `manager.open()`. */
  open(ctx: Context): OpenedSession | Promise<OpenedSession> {
    const request = this.#requestOf(ctx);
    return this.#adopt === undefined
      ? this.#openAs(ctx, request, false)
      : this.#openAdopted(ctx, this.#adopt(request));
  }

  async #openAdopted(
    ctx: Context,
    adopting: AdoptedRequest | Promise<AdoptedRequest>,
  ): Promise<OpenedSession> {
    const { request, isFormerLeftOver } = await adopting;
    return this.#openAs(ctx, request, isFormerLeftOver);
  }

  #openAs(
    ctx: Context,
    request: SessionRequest,
    isFormerLeftOver: boolean,
  ): OpenedSession | Promise<OpenedSession> {
    const exchange = this.manager.open(request);
    if (exchange instanceof Promise) return this.#openLater(ctx, request, exchange, isFormerLeftOver);
    const usable = this.#usable(ctx, request, exchange);
    if (usable instanceof Promise) return this.#beginLater(ctx, request, usable, isFormerLeftOver);
    return this.#begin(ctx, request, usable, isFormerLeftOver);
  }

  async #openLater(
    ctx: Context,
    request: SessionRequest,
    opening: Promise<SessionExchange>,
    isFormerLeftOver: boolean,
  ): Promise<OpenedSession> {
    const usable = await this.#usable(ctx, request, await opening);
    return this.#begin(ctx, request, usable, isFormerLeftOver);
  }

  async #beginLater(
    ctx: Context,
    request: SessionRequest,
    usable: Promise<SessionExchange>,
    isFormerLeftOver: boolean,
  ): Promise<OpenedSession> {
    return this.#begin(ctx, request, await usable, isFormerLeftOver);
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
    return sessionRequestOf(ctx.req, {
      url: ctx.originalUrl,
      secure: ctx.secure,
      routePattern: routePatternOf(ctx),
      lock: this.choices.get(ctx),
      newId: this.behaviour.newId && newIdFor(ctx, this.behaviour.newId),
      tokens: this.behaviour.externalKey && tokensOf(ctx, this.behaviour.externalKey),
    });
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

const newIdFor = (ctx: Context, newId: NonNullable<Behaviour["newId"]>) => () => newId(ctx);

/** The application's own way to carry an id carries nothing else: not on which node the session is. */
function tokensOf(ctx: Context, externalKey: ExternalKey): SessionTokens {
  const id = externalKey.get(ctx);
  const carried = id ? { id, value: id } : undefined;
  return { read: () => carried, value: (newId) => newId };
}

/** Koa knows no routes; its router notes which one it found, where this middleware runs inside of it. */
function routePatternOf(ctx: Context): string | undefined {
  const pattern: unknown = ctx._matchedRoute;
  return typeof pattern === "string" ? pattern : undefined;
}
