import session from "@msm/koa";
import Koa from "koa";

declare module "koa-session" {
  interface Session {
    views?: number;
  }
}

export const app = new Koa();

app.use(session({ secret: process.env.SESSION_SECRET ?? "" }, app));

app.use(async (ctx) => {
  if (ctx.session === null) return; // as after `ctx.session = null`
  ctx.session.views = (ctx.session.views ?? 0) + 1; // a number, for the compiler too
  await ctx.session.save();
  ctx.body = ctx.session.views;
});
