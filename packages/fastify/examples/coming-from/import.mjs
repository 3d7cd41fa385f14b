import fastifyCookie from "@fastify/cookie";
import fastifySession from "@msm/fastify"; // this line, and no other
import fastify from "fastify";

export const start = ({ secret, store }) => {
  const app = fastify();
  app.register(fastifyCookie);
  app.register(fastifySession, { secret, store, cookie: { secure: "auto", maxAge: 30 * 60_000 } });

  app.get("/", async ({ session }) => {
    session.views = (session.views ?? 0) + 1;
    return `You were here ${session.views} times.`;
  });
  return app;
};
