import fastifySession from "@msm/fastify";
import fastify from "fastify";

declare module "fastify" {
  interface Session {
    views?: number;
  }
}

export const app = fastify();

app.register(fastifySession, { secret: process.env.SESSION_SECRET ?? "" });

app.get("/", async ({ session }) => {
  session.views = (session.views ?? 0) + 1; // a number, for the compiler too
  await session.save();
  return { views: session.views };
});
