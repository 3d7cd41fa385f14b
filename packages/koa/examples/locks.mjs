import { session } from "@msm/koa";
import Koa from "koa";

export const app = new Koa();
const sessions = session({ secret: process.env.SESSION_SECRET }, app);

/** Runs a middleware for one path; a router does the same. */
const at = (path, middleware) => (ctx, next) => (ctx.path === path ? middleware(ctx, next) : next());

app.use(at("/status", sessions.unlocked)); // whatever `locking` says
app.use(at("/cart", sessions.locked)); // nobody else changes it until such a request is answered
app.use(sessions);

app.use(
  at("/cart", async (ctx) => {
    const items = ctx.session.items ?? 0;
    await new Promise((resolve) => setTimeout(resolve, 20));
    ctx.session.items = items + 1;
    ctx.body = `${ctx.session.items} in your cart`;
  }),
);

app.use(
  at("/order", async (ctx) => {
    await ctx.session.lock(); // here, and with the newest values
    ctx.session.items = 0;
    await ctx.session.save();
    await ctx.session.release(); // the next request may go on
    ctx.body = "Thank you.";
  }),
);

app.use(
  at("/status", (ctx) => {
    ctx.body = `${ctx.session.items ?? 0} in your cart`;
  }),
);
