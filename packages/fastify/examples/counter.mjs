import fastifySession from "@msm/fastify";
import fastify from "fastify";

export const app = fastify();

app.register(fastifySession, {
  secret: process.env.SESSION_SECRET, // at least 32 bytes, the same in all processes
  nodes: process.env.SESSION_NODES, // for instance "n1:cache1:11211,n2:cache2:11211"
});

app.get("/", async ({ session }) => {
  session.views = (session.views ?? 0) + 1;
  return `You were here ${session.views} times.`;
});

// Answers what is under way, saves what is still to be saved, and ends the connections to the nodes.
process.once("SIGTERM", () => app.close());
