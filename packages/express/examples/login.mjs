import { session } from "@msm/express";
import express from "express";

export const app = express();

app.use(session({ secret: process.env.SESSION_SECRET, cookie: { maxAgeMs: 30 * 60_000 } }));

app.post("/login", express.urlencoded({ extended: false }), async (req, res) => {
  await req.session.regenerate(); // another id, so that an id that somebody planted is worth nothing
  req.session.user = req.body.user;
  if (req.body.remember) req.session.cookie.maxAge = 30 * 24 * 60 * 60_000;
  res.redirect("/");
});

app.post("/logout", async (req, res) => {
  await req.session.destroy();
  res.redirect("/");
});

app.get("/", (req, res) => {
  res.send(req.session.user ? `Hello ${req.session.user}` : "Hello stranger");
});

// Has `status` 503 where no storage node answers; the client never gets the answer of a handler that was not saved.
app.use((error, _req, res, next) => {
  if (res.headersSent) return next(error);
  res.status(error.status ?? 500).send("Please try again in a moment.");
});
