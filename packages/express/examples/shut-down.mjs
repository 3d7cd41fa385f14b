import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { session } from "@msm/express";
import express from "express";

const app = express();
const sessions = session({
  secret: process.env.SESSION_SECRET,
  nodes: process.env.SESSION_NODES,
  mode: "sticky",
  route: process.env.ROUTE,
});
let isEnding = false;

// Before the sessions: the load balancer asks for it twice a second, and sends no requests where the answer is 503.
app.get("/health", (_req, res) => {
  const { status, nodes } = sessions.manager.health();
  res.status(isEnding || status === "down" ? 503 : 200).json({ status, nodes });
});

// The load balancer is to use no connection again that is about to be closed.
app.use((_req, res, next) => {
  if (isEnding) res.set("Connection", "close");
  next();
});

app.use(sessions);

app.post("/notes/:note", (req, res) => {
  req.session.notes ??= [];
  req.session.notes.push(req.params.note);
  res.json(req.session.notes);
});

app.get("/notes", (req, res) => {
  res.json(req.session.notes ?? []);
});

const server = app.listen(process.env.PORT);

process.once("SIGTERM", async () => {
  isEnding = true;
  await pause(1000); // until the load balancer has noticed
  server.close(); // takes no connections any more; requests that are under way are answered
  setTimeout(() => server.closeAllConnections(), 10_000).unref(); // so long may streams last
  await once(server, "close");
  await sessions.manager.close(); // saves what is unsaved; then nothing keeps the process
});
