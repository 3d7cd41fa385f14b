import session from "@msm/express";
import { RedisStore } from "connect-redis";
import express from "express";
import { createClient } from "redis";

export const app = express();
export const client = await createClient({ url: process.env.REDIS_URL }).connect();

export const sessions = session({
  nodes: process.env.SESSION_NODES, // for instance "n1:redis://cache1:6379,n2:redis://cache2:6379"
  secret: process.env.SESSION_SECRET,
  cookie: { maxAge: 30 * 60_000 },
  previous: { store: new RedisStore({ client }) }, // until the last session of before has expired
});

app.use(sessions);

app.get("/login", (req, res, next) => {
  req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.user = req.query.user;
    res.redirect("/");
  });
});

app.get("/logout", (req, res, next) => {
  req.session.destroy((error) => (error ? next(error) : res.redirect("/")));
});

app.get("/", (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  res.send(`${req.session.user ?? "stranger"}: ${req.session.views}`);
});
