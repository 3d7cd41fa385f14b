import { PassThrough } from "node:stream";
import type { AdapterGiven, adapterRoutes } from "@msm/conformance";
import { session } from "@msm/koa";
import type Koa from "koa";
import type { Context, Middleware } from "koa";

declare module "koa-session" {
  interface Session {
    n?: number;
    name?: string;
    user?: string;
  }
}

type Routes = Partial<Record<keyof typeof adapterRoutes, Middleware[]>>;

/** Gives a Koa application the routes of the adapter contract. */
export function contractApp(app: Koa, given: AdapterGiven): Koa {
  const sessions = session({ manager: given.manager }, app);
  const routes: Routes = {
    "GET /read": [
      (ctx) => {
        const { n, name, user } = ctx.session!;
        ctx.body = { n: n ?? null, name: name ?? null, user: user ?? null };
      },
    ],
    "GET /has-session": [
      (ctx) => {
        ctx.body = { hasSession: ctx.session !== null };
      },
    ],
    "GET /count": [
      (ctx) => {
        ctx.session!.n = (ctx.session!.n ?? 0) + 1;
        ctx.body = { n: ctx.session!.n };
      },
    ],
    "GET /name": [
      async (ctx) => {
        ctx.session!.name = String(ctx.query.name);
        await given.nextTurn();
        ctx.body = { name: ctx.session!.name };
      },
    ],
    "POST /length": [
      async (ctx) => {
        let length = 0;
        for await (const chunk of ctx.req) length += (chunk as Buffer).length;
        ctx.session!.n = length;
        ctx.body = { n: length };
      },
    ],
    "GET /throw": [
      (ctx) => {
        ctx.session!.n = 7;
        throw new Error("boom");
      },
    ],
    "GET /own-cookies": [
      (ctx) => {
        ctx.session!.n = 1;
        ctx.cookies.set("a", "1");
        ctx.cookies.set("b", "2");
        ctx.body = "ok";
      },
    ],
    "GET /redirect": [
      (ctx) => {
        ctx.session!.n = (ctx.session!.n ?? 0) + 1;
        ctx.redirect("/read");
      },
    ],
    "GET /described": [
      (ctx) => {
        ctx.session!.n = 1;
        ctx.set({ ETag: '"v1"', "Last-Modified": new Date(0).toUTCString() });
        ctx.set("Cache-Control", "public, max-age=60");
        ctx.type = "csv";
        ctx.body = "secret";
      },
    ],
    "GET /stream": [
      (ctx) => {
        ctx.session!.n = 1;
        ctx.respond = false;
        for (const part of ["a", "b", given.text]) ctx.res.write(part);
        ctx.res.end();
      },
    ],
    "GET /pipe": [
      (ctx) => {
        ctx.session!.n = 1;
        ctx.body = given.largeBody();
      },
    ],
    "GET /events": [
      (ctx) => {
        ctx.session!.n = 1;
        const events = eventStream(ctx);
        void given.gate().then(() => {
          ctx.session!.n = 2;
          events.end("data: 2\n\n");
        });
      },
    ],
    "GET /endless": [
      (ctx) => {
        ctx.session!.n = 1;
        eventStream(ctx);
      },
    ],
    "GET /big": [
      (ctx) => {
        ctx.session!.n = 1;
        ctx.body = given.text;
      },
    ],
    "GET /empty": [
      (ctx) => {
        ctx.session!.n = 1;
        ctx.status = 204;
      },
    ],
    "GET /cached": [
      (ctx) => {
        ctx.session!.n = 1;
        ctx.status = 200;
        ctx.etag = "v1";
        if (ctx.fresh) ctx.status = 304;
        else ctx.body = "fresh";
      },
    ],
    "GET /twice": [
      (ctx) => {
        ctx.session!.n = 1;
        ctx.status = 200;
        ctx.res.end("once");
        ctx.body = "again"; // Koa, which sees that an answer is under way, tries no more than to end it
      },
    ],
    "GET /slow": [
      async (ctx) => {
        given.entered();
        await given.gate();
        ctx.session!.n = 42;
        ctx.body = "late";
      },
    ],
    "GET /locked-count": [
      sessions.locked,
      async (ctx) => {
        const before = ctx.session!.n ?? 0;
        await given.nextTurn();
        ctx.session!.n = before + 1;
        ctx.body = { n: ctx.session!.n };
      },
    ],
    "GET /locked-slow": [
      sessions.locked,
      async (ctx) => {
        given.entered();
        await given.gate();
        ctx.session!.n = 42;
        ctx.body = "late";
      },
    ],
    "GET /locked-events": [
      sessions.locked,
      (ctx) => {
        ctx.session!.n = 1;
        const events = eventStream(ctx);
        void given.gate().then(() => events.end("data: 2\n\n"));
      },
    ],
    "GET /locked-stream": [
      sessions.locked,
      (ctx) => {
        ctx.session!.n = 1;
        const stream = new PassThrough();
        ctx.body = stream;
        stream.write("a");
        void given.gate().then(() => {
          ctx.session!.n = 2;
          stream.end("b");
        });
      },
    ],
    "GET /never": [
      (ctx) => {
        given.entered();
        ctx.session!.n = 9;
        return new Promise(() => {});
      },
    ],
    "GET /destroy": [
      async (ctx) => {
        await ctx.session!.destroy();
        ctx.body = "bye";
      },
    ],
    "GET /sign-in": [
      async (ctx) => {
        await ctx.session!.regenerate({ keep: false });
        ctx.session!.user = "ann";
        ctx.body = "hi";
      },
    ],
  };

  app.use(sessions);
  app.use(async (ctx, next) => {
    const method = ctx.method === "HEAD" ? "GET" : ctx.method;
    const [handler, behind] = routes[`${method} ${ctx.path}` as keyof Routes] ?? [];
    await handler?.(ctx, async () => behind?.(ctx, next));
  });
  return app;
}

function eventStream(ctx: Context): PassThrough {
  const events = new PassThrough();
  ctx.type = "text/event-stream";
  ctx.body = events;
  events.write("data: 1\n\n");
  return events;
}
