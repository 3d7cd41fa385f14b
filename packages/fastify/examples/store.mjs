import fastifySession, { MemoryStore } from "@msm/fastify";
import fastify from "fastify";

export const app = fastify();

app.register(fastifySession, {
  secret: process.env.SESSION_SECRET,
  store: new MemoryStore(), // or connect-redis', connect-mongo's, your own
  cookie: { secure: "auto", maxAge: 30 * 60_000 },
  absoluteTimeoutMs: 8 * 60 * 60_000, // @fastify/session has no such thing
});

app.get("/", async ({ session }) => {
  session.views = (session.views ?? 0) + 1;
  return `You were here ${session.views} times.`;
});
