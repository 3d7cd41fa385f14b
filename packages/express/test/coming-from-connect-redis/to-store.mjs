import { createSessionManager } from "@msm/core";
import { toStore } from "@msm/express";
import express from "express";
import session from "express-session";

export const app = express();
export const manager = createSessionManager({
  secret: process.env.SESSION_SECRET,
  nodes: process.env.SESSION_NODES,
});

app.use(
  session({
    store: toStore(manager),
    secret: process.env.SESSION_SECRET,
    resave: false,
    saveUninitialized: false,
  }),
);

app.get("/", (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  res.send(String(req.session.views));
});
