import session from "@msm/express";
import express from "express";
import { store } from "./store.mjs";

export const app = express();
export const sessions = session({
  nodes: process.env.SESSION_NODES, // for instance "n1:redis://cache1,n2:redis://cache2"
  secret: process.env.SESSION_SECRET, // at least 32 bytes: it seals what is stored, too
  cookie: { maxAge: 30 * 60_000 },
  previous: { store, secret: "keyboard cat" }, // until the last session that began before has expired
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

process.once("SIGTERM", () => sessions.manager.close());
