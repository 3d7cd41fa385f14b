import fastifySession from "@msm/fastify";
import fastify from "fastify";

export const app = fastify();

app.register(fastifySession, { secret: process.env.SESSION_SECRET });

// Whatever `locking` says: nobody else changes the session until this request is answered.
app.post("/cart", { config: { sessionLock: true } }, async ({ session }) => {
  const items = session.items ?? 0;
  await new Promise((resolve) => setTimeout(resolve, 20));
  session.items = items + 1;
  return `${session.items} in your cart`;
});

app.post("/order", async ({ session }) => {
  await session.lock(); // here, and with the newest values
  session.items = 0;
  await session.save();
  await session.release(); // the next request may go on
  return "Thank you.";
});

app.get(
  "/status",
  { config: { sessionLock: false } },
  async ({ session }) => `${session.items ?? 0} in your cart`,
);
