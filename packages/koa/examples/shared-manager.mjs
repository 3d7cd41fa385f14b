import { createSessionManager } from "@msm/core";
import { session } from "@msm/koa";
import Koa from "koa";

export const manager = createSessionManager({ secret: process.env.SESSION_SECRET });

manager.on("commitFailed", ({ error }) => console.error(error.message));

export const shop = new Koa();
shop.use(session({ manager }, shop));
shop.use((ctx) => {
  ctx.session.cart = [...(ctx.session.cart ?? []), "book"];
  ctx.body = ctx.session.cart;
});

export const admin = new Koa();
admin.use(session({ manager }, admin));
admin.use((ctx) => {
  ctx.body = ctx.session.cart ?? [];
});
