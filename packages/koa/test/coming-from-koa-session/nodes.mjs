import session from "@msm/koa";
import Koa from "koa";
import { store } from "./store.mjs";

export const app = new Koa();
app.keys = [process.env.SESSION_SECRET];

export const sessions = session(
  {
    key: "sid", // not koa-session's, so that old and new processes beside each other leave one another's cookie alone
    nodes: process.env.SESSION_NODES, // for instance "n1:cache1:11211,n2:cache2:11211"
    maxAge: 30 * 60_000,
    renew: true,
    previous: { store }, // until the last session of before has expired
  },
  app,
);
app.use(sessions);

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
