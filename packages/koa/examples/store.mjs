import session from "@msm/koa";
import Koa from "koa";

const stored = new Map();

export const app = new Koa();
app.keys = [process.env.SESSION_SECRET];

app.use(
  session(
    {
      store: {
        get: async (id) => stored.get(id),
        set: async (id, data) => void stored.set(id, data), // the third argument says for how long
        destroy: async (id) => void stored.delete(id),
      },
      rolling: true,
      absoluteTimeoutMs: 12 * 60 * 60_000, // however busy it is
    },
    app,
  ),
);

app.use((ctx) => {
  ctx.session.views = (ctx.session.views ?? 0) + 1;
  ctx.body = `You were here ${ctx.session.views} times.`;
});
