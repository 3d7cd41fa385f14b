import http from "node:http";
import { serverOptions, session } from "@msm/express";
import express from "express";

const app = express();
app.use(session({ secret: process.env.SESSION_SECRET }));

app.get("/", (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  res.send(`You were here ${req.session.views} times.`);
});

export const server = http.createServer(serverOptions(app), app); // in place of app.listen()
