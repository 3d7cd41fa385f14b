import fastifySession from "@msm/fastify";
import fastify from "fastify";

export const app = fastify();

app.register(fastifySession, { secret: process.env.SESSION_SECRET, cookie: { maxAge: 30 * 60_000 } });

app.post("/login", async (request, reply) => {
  await request.session.regenerate(); // another id, so that an id that somebody planted is worth nothing
  request.session.user = request.body.user;
  if (request.body.remember) request.session.cookie.maxAge = 30 * 24 * 60 * 60_000;
  return reply.redirect("/");
});

app.post("/logout", async (request, reply) => {
  await request.session.destroy();
  return reply.redirect("/");
});

app.get("/", async ({ session }) => (session.user ? `Hello ${session.user}` : "Hello stranger"));

// Has `statusCode` 503 where no storage node answers; the client never gets the answer of a handler that was not saved.
app.setErrorHandler((error, _request, reply) => {
  reply.code(error.statusCode ?? 500).send("Please try again in a moment.");
});
