import type { SessionManager } from "@msm/core";
import { andThen } from "@msm/core/node";
import type Koa from "koa";
import type { Context, DefaultContext, DefaultState, Middleware, Next } from "koa";
import { createBeforeOpening } from "./before-opening.js";
import { wrongOption } from "./check.js";
import { attach, extendContext, openedFor } from "./context.js";
import { HeldSession } from "./held-session.js";
import { Nodes } from "./nodes/nodes.js";
import { resolveNodes } from "./nodes/nodes-options.js";
import type { OpenedSession } from "./opened-session.js";
import type { NodesOptions, SessionOptions, StoreOptions } from "./options.js";
import { ownerOf } from "./session-object.js";
import { Stores } from "./store/stores.js";

/** The middleware, with the manager behind it: for its events, its counts, and for `close()`. */
export type SessionMiddleware<StateT = DefaultState, ContextT = DefaultContext> = Middleware<
  StateT,
  ContextT
> & {
  readonly manager: SessionManager;
  /**
   * For a path or a route whose requests are to have their session to themselves, whatever `locking` says: before this
   * middleware or behind it (`router.post("/cart", sessions.locked, handler)`), where it waits for the lock then.
   */
  readonly locked: Middleware<StateT, ContextT>;
  /** For a path or a route whose requests need no lock, whatever `locking` says: before this middleware or behind it. */
  readonly unlocked: Middleware<StateT, ContextT>;
};

/**
 * Gives each request its session as `ctx.session`, as koa-session does; application and options come in either order.
 * The answer reaches the client once the session is saved; where it cannot be saved, the middleware throws, with
 * `error.status` 503 or 409.
 *
 * Sessions are kept on msm's `nodes`, by a `manager` of the application's, or in a koa-session `store`; where none of them is
 * given, in this process' memory, and never in the cookie. A request that has a session already is passed on as it is,
 * so mounting twice does no harm.
 *
 * @throws MsmError MSM_ERR_OPTION on an option that makes no sense; TypeError where there is no application
 */
export function session<StateT = DefaultState, ContextT = DefaultContext>(
  options: NodesOptions,
  app: Koa<StateT, ContextT>,
): SessionMiddleware<StateT, ContextT>;
export function session<StateT = DefaultState, ContextT = DefaultContext>(
  app: Koa<StateT, ContextT>,
  options?: NodesOptions,
): SessionMiddleware<StateT, ContextT>;
export function session<StateT = DefaultState, ContextT = DefaultContext>(
  options: SessionOptions,
  app: Koa<StateT, ContextT>,
): Middleware<StateT, ContextT>;
export function session<StateT = DefaultState, ContextT = DefaultContext>(
  app: Koa<StateT, ContextT>,
  options: SessionOptions,
): Middleware<StateT, ContextT>;
export function session(first?: SessionOptions | Koa, second?: SessionOptions | Koa): Middleware {
  const [app, options] = isApplication(first) ? [first, second] : [second, first];
  if (!isApplication(app)) throw new TypeError("app instance required: `session(opts, app)`");
  if (options !== undefined && (typeof options !== "object" || options === null || isApplication(options)))
    throw wrongOption("options", "an object", options);
  return isForStore(options) ? inStore(options, app) : onNodes((options ?? {}) as NodesOptions, app);
}

const isApplication = (value: unknown): value is Koa =>
  typeof value === "object" && value !== null && "use" in value && typeof value.use === "function";

const isForStore = (options: SessionOptions | undefined): options is StoreOptions =>
  options?.store !== undefined || options?.ContextStore !== undefined;

function inStore(options: StoreOptions, app: Koa): Middleware {
  const stores = new Stores(options);
  const beforeOpening = () => createBeforeOpening({ ...stores.shown });
  extendContext(app.context, beforeOpening);
  return opening((ctx) => stores.open(ctx), beforeOpening);
}

function onNodes(options: NodesOptions, app: Koa): SessionMiddleware {
  const resolved = resolveNodes(options, app.keys);
  const nodes = new Nodes(resolved);
  const { behaviour, shown, manager } = resolved;
  const beforeOpening = () => createBeforeOpening({ ...shown, maxAge: behaviour.maxAge });
  extendContext(app.context, beforeOpening);
  return Object.assign(
    opening((ctx) => nodes.open(ctx), beforeOpening),
    { manager, locked: choosing(nodes, true), unlocked: choosing(nodes, false) },
  );
}

function opening(
  open: (ctx: Context) => OpenedSession | Promise<OpenedSession>,
  beforeOpening: () => OpenedSession,
): Middleware {
  // Not an async function: most sessions are there at once, and to come back to one costs more than what they do here.
  return function openSession(ctx: Context, next: Next): Promise<void> {
    if (openedFor(ctx) !== undefined) return next();
    try {
      // In an application that is mounted in another one, contexts are the outer one's.
      extendContext(ctx.app.context, beforeOpening);
      const opening = open(ctx);
      return opening instanceof Promise
        ? opening.then((opened) => serve(ctx, opened, next))
        : serve(ctx, opening, next);
    } catch (error) {
      return Promise.reject(error);
    }
  };
}

function serve(ctx: Context, opened: OpenedSession, next: Next): Promise<void> {
  attach(ctx, opened);
  const held = new HeldSession(ctx, opened);
  held.begin();
  return next().then(
    () => held.settle(),
    (error: unknown) => andThen(held.settle(), () => Promise.reject(error)),
  );
}

function choosing(nodes: Nodes, wantsLock: boolean): Middleware {
  return async function chooseLock(ctx: Context, next: Next): Promise<void> {
    const owner = openedFor(ctx) && ctx.session ? ownerOf(ctx.session) : undefined;
    if (owner === undefined) nodes.choices.set(ctx, wantsLock);
    else await (wantsLock ? owner.lock() : owner.release());
    await next();
  };
}
