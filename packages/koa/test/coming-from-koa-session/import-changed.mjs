import session from "@msm/koa";
import Koa from "koa";
import { store } from "./store.mjs";

export const app = new Koa();
app.keys = [process.env.SESSION_SECRET];

app.use(session({ store, maxAge: 30 * 60_000, renew: true }, app));

app.use(async (ctx) => {
  if (ctx.path === "/login") {
    await ctx.session.regenerate();
    ctx.session.user = ctx.query.user;
    ctx.redirect("/");
  } else if (ctx.path === "/logout") {
    ctx.session = null;
    ctx.redirect("/");
  } else {
    ctx.session.views = (ctx.session.views ?? 0) + 1;
    ctx.body = `${ctx.session.user ?? "stranger"}: ${ctx.session.views}`;
  }
});
