// Compiled by `pnpm check`, not run: applications' augmentations of Fastify's `Session` hold as with @fastify/session.
// By itself, as @fastify/passport's types, once loaded, allow any attribute.
import fastifySession, {
  type CookieOptions,
  type FastifySessionObject,
  type FastifySessionOptions,
  MemoryStore,
  type SessionStore,
  Store,
} from "@msm/fastify";
import type { FastifyInstance, FastifyRequest, Session } from "fastify";

declare module "fastify" {
  interface Session {
    visitor?: { id: number };
    foo: string;
  }
}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** Fails to compile unless the two are the same. */
declare function same<A, B>(isSame: Same<A, B>): void;

export async function programs(app: FastifyInstance, request: FastifyRequest): Promise<void> {
  const { session } = request;
  same<typeof session, FastifySessionObject>(true);
  same<typeof session.visitor, { id: number } | undefined>(true);
  same<typeof session.foo, string>(true);
  // @ts-expect-error nobody declared it
  void session.doesNotExist;

  const foo = session.get("foo");
  same<typeof foo, string | undefined>(true);
  session.set("visitor", { id: 2 });
  // @ts-expect-error a string is wanted
  session.set("foo", 2);
  // @ts-expect-error nobody declared it
  session.get("not there");

  const destroyed: Promise<void> = session.destroy();
  const renewed: Promise<void> = session.regenerate(["foo"]);
  const kept: Promise<void> = session.regenerate({ keep: true });
  const locked: Promise<void> = session.lock();
  await Promise.all([destroyed, renewed, kept, locked, session.release(), session.save(), session.reload()]);
  session.regenerate(["foo"], (error) => void error);
  session.options({ domain: "example.com", maxAge: 1000, priority: "low", secure: "auto" });
  // @ts-expect-error no option of cookies
  session.options({ keyNotInCookieOptions: true });
  const isModified: boolean = session.isModified() && session.isSaved() && session.isLocked;
  same<typeof isModified, boolean>(true);

  request.sessionStore.get("id", (error, found?: Session | null) => void [error, found?.visitor?.id]);
  app.decryptSession("value", { hello: "world" }, { domain: "/" }, () => {});
  app.sessionManager.on("commitFailed", ({ error }) => void error.code);
  app.get("/locked", { config: { sessionLock: true } }, async () => "fine");
}

/** As express-session's types have it: they know nothing of the attributes above. */
declare class ExpressStore {
  get(sid: string, callback: (error: unknown, session?: { cookie: object } | null) => void): void;
  set(sid: string, session: { cookie: object }, callback?: (error?: unknown) => void): void;
  destroy(sid: string, callback?: (error?: unknown) => void): void;
  touch?(sid: string, session: { cookie: object }, callback?: () => void): void;
}

export function registrations(app: FastifyInstance, secret: string, store: SessionStore): void {
  const cookie: CookieOptions = { maxAge: 1000 };
  app.register(fastifySession, { secret });
  app.register(fastifySession, { secret, nodes: "cache1:11211", cookie: { maxAgeMs: 1000 } });
  app.register(fastifySession, { secret, mode: "sticky", route: "app1", previous: { store, secret } });
  app.register(fastifySession, { secret, store, cookie, rolling: false, absoluteTimeoutMs: 1000 });
  app.register(fastifySession, { secret, store: new MemoryStore(new Map<string, Session>()) });
  app.register(fastifySession, { secret, store: new Store() });
  app.register(fastifySession, { secret, store: new ExpressStore() });
  app.register(fastifySession, { secret: [secret, secret], store, idGenerator: (by) => by?.ip ?? "" });
  app.register(fastifySession, { manager: app.sessionManager, rolling: false });
  // @ts-expect-error a manager has a cookie
  app.register(fastifySession, { manager: app.sessionManager, cookie: { maxAge: 1000 } });
  // @ts-expect-error sticky sessions need a route
  app.register(fastifySession, { secret, mode: "sticky" });
  // @ts-expect-error they need a secret
  app.register(fastifySession, {});

  const options: FastifySessionOptions = { secret, store };
  void options;
}
