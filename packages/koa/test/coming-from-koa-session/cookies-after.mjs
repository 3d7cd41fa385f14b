import session from "@msm/koa";
import Koa from "koa";

export const app = new Koa();
app.keys = [process.env.SESSION_SECRET];

export const sessions = session(
  {
    key: "sid", // not koa-session's, so that old and new processes beside each other leave one another's cookie alone
    nodes: process.env.SESSION_NODES,
    maxAge: 30 * 60_000,
    previous: {}, // without a store: what is in the cookies
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
