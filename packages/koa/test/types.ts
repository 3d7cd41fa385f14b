// Compiled by `pnpm check`, never run: what existing programs in TypeScript say of their sessions goes on compiling.

import type { RegenerateOptions, SessionManager } from "@msm/core";
import session, { session as named, type Session, type SessionMiddleware, type SessionStore } from "@msm/koa";
import type { Context, Middleware } from "koa";
import Koa from "koa";
import type koaSession from "koa-session";
import { expectTypeOf } from "vitest";

// As programs have it that used koa-session with its types.
declare module "koa-session" {
  interface Session {
    views?: number;
  }
}

// As programs have it whose contexts have more.
interface MyState {
  readonly userId: string;
}

const app = new Koa();
const typed = new Koa<MyState, { readonly logger: Console }>();

export function ofTheSession(ctx: Context): void {
  expectTypeOf(ctx.session).toEqualTypeOf<Session | null>();
  const current = ctx.session!;
  expectTypeOf(current).toEqualTypeOf<koaSession.Session>();
  expectTypeOf(current.views).toEqualTypeOf<number | undefined>();
  expectTypeOf(current.isNew).toEqualTypeOf<boolean>();
  expectTypeOf(current.length).toEqualTypeOf<number>();
  expectTypeOf(current.populated).toEqualTypeOf<boolean>();
  expectTypeOf(current.maxAge).toEqualTypeOf<number | "session" | undefined>();
  expectTypeOf(current.externalKey).toEqualTypeOf<string | undefined>();
  expectTypeOf(current.isLocked).toEqualTypeOf<boolean>();
  expectTypeOf(current.manuallyCommit()).toEqualTypeOf<Promise<void>>();
  expectTypeOf(current.save()).toEqualTypeOf<Promise<void>>();
  expectTypeOf(current.regenerate()).toEqualTypeOf<Promise<void>>();
  expectTypeOf(current.regenerate).toBeCallableWith({ keep: ["user"] } satisfies RegenerateOptions);
  expectTypeOf(current.save).toBeCallableWith(() => {});
  expectTypeOf(current.destroy()).toEqualTypeOf<Promise<void>>();
  expectTypeOf(current.lock()).toEqualTypeOf<Promise<void>>();
  expectTypeOf(ctx.sessionOptions).toEqualTypeOf<koaSession.opts | undefined>();
  ctx.session = null;
}

export function ofTheMiddleware(): void {
  expectTypeOf(named).toEqualTypeOf(session);
  expectTypeOf(session(app)).toEqualTypeOf<SessionMiddleware>();
  expectTypeOf(session({ key: "sid", maxAge: "session" }, app)).toEqualTypeOf<SessionMiddleware>();
  expectTypeOf(
    session(app, { nodes: "cache1:11211", mode: "sticky", route: "app1" }).manager,
  ).toEqualTypeOf<SessionManager>();
  // @ts-expect-error a route is for the sticky mode
  session({ route: "app1" }, app);
  // @ts-expect-error there is no such option
  session({ maxAgee: 1 }, app);

  const sessions = session({}, typed);
  typed.use(sessions).use(sessions.locked);
  typed.use((ctx) => {
    expectTypeOf(ctx.session).toEqualTypeOf<Session | null>();
    expectTypeOf(ctx.state.userId).toEqualTypeOf<string>();
  });

  const store = {
    get: async (_id: string) => ({}),
    set: async (_id: string, _data: object, _maxAge: number | "session" | undefined) => {},
    destroy: async (_id: string) => {},
  } satisfies SessionStore;
  expectTypeOf(session({ store }, app)).toEqualTypeOf<Middleware>();
  // @ts-expect-error a store has no manager
  session({ store }, app).manager;
}

/** A configuration that was typed by koa-session's types, with a store of theirs. */
export function ofExistingConfigurations(theirs: koaSession.stores): void {
  const config: Partial<koaSession.opts> & { readonly store: koaSession.stores } = {
    key: "app.sid",
    maxAge: 86_400_000,
    rolling: true,
    sameSite: "lax",
    store: theirs,
    valid: (ctx, data) => void [ctx.path, data.views],
    beforeSave: (ctx, current) => void [ctx.path, current.views],
  };
  app.use(session(config, app));
}
