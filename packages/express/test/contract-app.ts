import type { AdapterGiven } from "@msm/conformance";
import { session } from "@msm/express";
import type { Express } from "express";

declare module "express-session" {
  interface SessionData {
    n: number;
    name: string;
    user: string;
  }
}

/** Gives an Express application the routes of the adapter contract. */
export function contractApp(app: Express, given: AdapterGiven): Express {
  const sessions = session({ manager: given.manager });
  app.use(sessions);

  app.get("/read", ({ session: { n, name, user } }, res) => {
    res.json({ n: n ?? null, name: name ?? null, user: user ?? null });
  });
  app.get("/has-session", (req, res) => {
    res.json({ hasSession: req.session !== undefined });
  });
  app.get("/count", (req, res) => {
    req.session.n = (req.session.n ?? 0) + 1;
    res.json({ n: req.session.n });
  });
  app.get("/name", async (req, res) => {
    req.session.name = String(req.query.name);
    await given.nextTurn();
    res.json({ name: req.session.name });
  });
  app.post("/length", async (req, res) => {
    let length = 0;
    for await (const chunk of req) length += chunk.length;
    req.session.n = length;
    res.json({ n: length });
  });
  app.get("/throw", (req) => {
    req.session.n = 7;
    throw new Error("boom");
  });
  app.get("/own-cookies", (req, res) => {
    req.session.n = 1;
    res.cookie("a", "1").cookie("b", "2").send("ok");
  });
  app.get("/redirect", (req, res) => {
    req.session.n = (req.session.n ?? 0) + 1;
    res.redirect("/read");
  });
  app.get("/described", (req, res) => {
    req.session.n = 1;
    res.set({
      ETag: '"v1"',
      "Last-Modified": new Date(0).toUTCString(),
      "Cache-Control": "public, max-age=60",
    });
    res.type("csv").send("secret");
  });
  app.get("/stream", (req, res) => {
    req.session.n = 1;
    for (const part of ["a", "b", given.text]) res.write(part);
    res.end();
  });
  app.get("/pipe", (req, res) => {
    req.session.n = 1;
    given.largeBody().pipe(res);
  });
  app.get("/events", async (req, res) => {
    req.session.n = 1;
    res.type("text/event-stream").flushHeaders();
    res.write("data: 1\n\n");
    await given.gate();
    req.session.n = 2;
    res.end("data: 2\n\n");
  });
  app.get("/endless", (req, res) => {
    req.session.n = 1;
    res.type("text/event-stream").write("data: 1\n\n");
  });
  app.get("/big", (req, res) => {
    req.session.n = 1;
    res.send(given.text);
  });
  app.get("/empty", (req, res) => {
    req.session.n = 1;
    res.status(204).end();
  });
  app.get("/cached", (req, res) => {
    req.session.n = 1;
    res.set("ETag", '"v1"').send("fresh");
  });
  app.get("/twice", (req, res) => {
    req.session.n = 1;
    res.send("once");
    try {
      res.send("again");
    } catch {
      res.end("again"); // the first one tells that headers are sent, as without a session
    }
  });
  app.get("/slow", async (req, res) => {
    given.entered();
    await given.gate();
    req.session.n = 42;
    res.send("late");
  });
  app.get("/locked-count", sessions.locked, async (req, res) => {
    const before = req.session.n ?? 0;
    await given.nextTurn();
    req.session.n = before + 1;
    res.json({ n: req.session.n });
  });
  app.get("/locked-slow", sessions.locked, async (req, res) => {
    given.entered();
    await given.gate();
    req.session.n = 42;
    res.send("late");
  });
  app.get("/locked-events", sessions.locked, async (req, res) => {
    req.session.n = 1;
    res.type("text/event-stream").flushHeaders();
    res.write("data: 1\n\n");
    await given.gate();
    res.end("data: 2\n\n");
  });
  app.get("/locked-stream", sessions.locked, async (req, res) => {
    req.session.n = 1;
    res.write("a");
    await given.gate();
    req.session.n = 2;
    res.end("b");
  });
  app.get("/never", (req) => {
    given.entered();
    req.session.n = 9;
  });
  app.get("/destroy", (req, res, next) => {
    req.session.destroy((error) => (error ? next(error) : res.send("bye")));
  });
  app.get("/sign-in", (req, res, next) => {
    req.session.regenerate((error) => {
      if (error) return next(error);
      req.session.user = "ann";
      res.send("hi");
    });
  });
  return app;
}
