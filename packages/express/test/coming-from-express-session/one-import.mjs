import session from "@msm/express";
import express from "express";

export const app = express();
export const sessions = session({
  compat: 1, // what is left out is as in express-session 1: connect.sid, s:<id>.<signature>, resave, saveUninitialized
  secret: "keyboard cat",
});

app.use(sessions);

app.get("/", (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  res.send(`You were here ${req.session.views} times.`);
});
