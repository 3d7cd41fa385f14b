import express from "express";
import session from "express-session";
import { store } from "./store.mjs";

export const app = express();

app.use(
  session({
    store,
    secret: "keyboard cat",
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 30 * 60_000 },
  }),
);

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
