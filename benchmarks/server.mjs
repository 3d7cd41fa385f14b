/** One peer as a process: `node server.mjs <name> <url of its storage node>`. Sends its port to the parent. */
import express from "express";
import { lockPeers } from "./lock-peers.mjs";
import { peers } from "./peers.mjs";

const [name, nodeUrl = ""] = process.argv.slice(2);
const peer = [...peers, ...lockPeers].find((candidate) => candidate.name === name);
if (!peer) throw new Error(`no peer is called "${name}"`);

const app = express();
app.disable("etag");
app.disable("x-powered-by");

const middleware = await peer.middleware(nodeUrl);
app.use(middleware ?? withoutSession);

app.post("/log-in", (request, response) => {
  request.session.user = { id: 4711, name: "Anna", roles: ["reader", "author"], language: "en" };
  request.session.cart = Array.from({ length: 20 }, (_, item) => ({
    item,
    title: `Book ${item}`,
    cents: 100 * item,
  }));
  request.session.count = 0;
  response.send("ok");
});

app.get("/read", (request, response) => {
  response.send(request.session.user?.name ?? "nobody");
});

app.post("/write", async (request, response) => {
  if (peer.locksInHandlers) await request.session.lock();
  request.session.count = (request.session.count ?? 0) + 1;
  response.send(String(request.session.count));
});

// Who measures counts the failures; Express would write a stack trace for each.
app.use((error, _request, response, _next) => void response.status(error.status ?? 500).end());

// However the run ends, nothing of it is left.
process.on("disconnect", () => process.exit());

const server = app.listen(0, "127.0.0.1", () => process.send?.({ port: server.address().port }));

/** The ceiling: an object that is gone with the request. */
function withoutSession(request, _response, next) {
  request.session = { user: { name: "Anna" } };
  next();
}
