import { session } from "@msm/koa";
import Koa from "koa";

export const app = new Koa();

// Has `status` 503 where no storage node answers; the client never gets the answer of a handler that was not saved.
app.use(async (ctx, next) => {
  try {
    await next();
  } catch (error) {
    ctx.status = error.status ?? 500;
    ctx.body = "Please try again in a moment.";
  }
});

app.use(session({ secret: process.env.SESSION_SECRET, maxAge: 30 * 60_000, renew: true }, app));

app.use(async (ctx) => {
  if (ctx.path === "/login") {
    await ctx.session.regenerate({ keep: false }); // another id, so that an id that somebody planted is worth nothing
    ctx.session.user = ctx.query.user;
    if (ctx.query.remember) ctx.session.maxAge = 30 * 24 * 60 * 60_000;
    ctx.redirect("/");
  } else if (ctx.path === "/logout") {
    ctx.session = null; // or, to go on once it is done: await ctx.session.destroy()
    ctx.redirect("/");
  } else {
    ctx.body = ctx.session.user ? `Hello ${ctx.session.user}` : "Hello stranger";
  }
});
