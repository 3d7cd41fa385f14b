import fastifySession from "@msm/fastify";
import fastify from "fastify";

export const start = ({ secret, nodes, store }) => {
  const app = fastify();
  app.register(fastifySession, {
    secret,
    cookieName: "sid", // another one than before
    nodes, // for instance "n1:cache1:11211,n2:cache2:11211"
    cookie: { maxAge: 30 * 60_000 },
    previous: { store, secret }, // until the last cookie of before has ended
  });

  app.get("/", async ({ session }) => {
    session.views = (session.views ?? 0) + 1;
    return `You were here ${session.views} times.`;
  });
  return app;
};
