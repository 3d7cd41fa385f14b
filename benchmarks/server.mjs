/** One peer as a process: `node server.mjs <name> <redis url>`. Sends its port to the parent. */
import express from "express";
import { peers } from "./peers.mjs";

const [name, redisUrl = ""] = process.argv.slice(2);
const peer = peers.find((candidate) => candidate.name === name);
if (!peer) throw new Error(`no peer is called "${name}"`);

const app = express();
app.disable("etag");
app.disable("x-powered-by");

const middleware = await peer.middleware(redisUrl);
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

app.post("/write", (request, response) => {
  request.session.count = (request.session.count ?? 0) + 1;
  response.send(String(request.session.count));
});

const server = app.listen(0, "127.0.0.1", () => process.send?.({ port: server.address().port }));

/** The ceiling: an object that is gone with the request. */
function withoutSession(request, _response, next) {
  request.session = { user: { name: "Anna" } };
  next();
}
