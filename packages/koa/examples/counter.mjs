import { session } from "@msm/koa";
import Koa from "koa";

export const app = new Koa();
const sessions = session(
  {
    secret: process.env.SESSION_SECRET, // at least 32 bytes, the same in all processes
    nodes: process.env.SESSION_NODES, // for instance "n1:cache1:11211,n2:cache2:11211"
  },
  app,
);

app.use(sessions);

app.use((ctx) => {
  ctx.session.views = (ctx.session.views ?? 0) + 1;
  ctx.body = `You were here ${ctx.session.views} times.`;
});

// Saves what is still to be saved, and ends the connections to the nodes.
process.once("SIGTERM", () => sessions.manager.close());
