import { session } from "@msm/express";
import express from "express";

export const app = express();
const sessions = session({
  secret: process.env.SESSION_SECRET, // at least 32 bytes, the same in all processes
  nodes: process.env.SESSION_NODES, // for instance "n1:cache1:11211,n2:cache2:11211"
});

app.use(sessions);

app.get("/", (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  res.send(`You were here ${req.session.views} times.`);
});

// Saves what is still to be saved, and ends the connections to the nodes.
process.once("SIGTERM", () => sessions.manager.close());
