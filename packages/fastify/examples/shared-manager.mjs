import { createSessionManager } from "@msm/core";
import fastifySession from "@msm/fastify";
import fastify from "fastify";

export const manager = createSessionManager({ secret: process.env.SESSION_SECRET });
export const app = fastify();

manager.on("commitFailed", ({ error }) => console.error(error.message));

for (const prefix of ["/shop", "/admin"]) {
  app.register(
    (context, _options, done) => {
      context.register(fastifySession, { manager });
      context.get("/cart", async ({ session }) => {
        if (prefix === "/shop") session.cart = [...(session.cart ?? []), "book"];
        return session.cart ?? [];
      });
      done();
    },
    { prefix },
  );
}
