import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { session } from "@msm/express";
import express, { type Express, type Request } from "express";
import expressSession from "express-session";
import express4 from "express4";
import { Passport } from "passport";
import { describe, expect, it, onTestFinished } from "vitest";
import { Client } from "../client.js";
import { serve } from "../serve.js";

const { MemoryStore } = expressSession;
const secret = "keyboard cat";

const count = (req: Request) => {
  req.session.count = (req.session.count ?? 0) + 1;
  return String(req.session.count);
};

/** What a `MemoryStore` holds. */
const storedIn = (store: expressSession.MemoryStore) =>
  Object.values((store as unknown as { sessions: Record<string, string> }).sessions).map(
    (json) => JSON.parse(json) as Record<string, unknown>,
  );

async function client(app: http.RequestListener): Promise<Client> {
  const { url, close } = await serve(app);
  onTestFinished(close);
  return new Client(url);
}

describe.each([
  ["Express 5", express],
  ["Express 4", express4 as unknown as typeof express],
])("on %s", (_name, framework) => {
  it("does as passport asks: regenerate, assign, save; and keepSessionInfo", async () => {
    const passport = new Passport();
    passport.serializeUser<{ id: string }>((user, done) => done(null, user as { id: string }));
    passport.deserializeUser<{ id: string }>((user, done) => done(null, user));
    const app: Express = framework();
    const store = new MemoryStore();
    app.use(session({ store, secret, cookie: { maxAge: 60_000 } }), passport.session());
    app.get("/cart", (req, res) => {
      req.session.items = ["book"];
      res.send(req.sessionID);
    });
    app.get("/login", (req, res, next) => {
      const options = { session: true, keepSessionInfo: req.query.keep === "1" };
      req.login({ id: "ann" } as Express.User, options, (error) =>
        error ? next(error) : res.redirect("/me"),
      );
    });
    app.get("/logout", (req, res, next) => {
      req.logout((error) => (error ? next(error) : res.redirect("/me")));
    });
    app.get("/me", (req, res) => {
      res.json({ user: req.user ?? null, items: req.session.items ?? null, id: req.sessionID });
    });
    const ann = await client(app);
    const me = async () => JSON.parse((await ann.get("/me")).text) as Record<string, unknown>;

    const anonymousId = (await ann.get("/cart")).text;
    await ann.get("/login?keep=1");
    const kept = await me();
    await ann.get("/login");
    const emptied = await me();
    await ann.get("/logout");

    expect(kept).toMatchObject({ user: { id: "ann" }, items: ["book"] });
    expect(kept.id).not.toBe(anonymousId);
    expect(emptied).toMatchObject({ user: { id: "ann" }, items: null });
    expect(emptied.id).not.toBe(kept.id);
    expect(await me()).toMatchObject({ user: null, items: null });
    expect(storedIn(store)).toHaveLength(1);
  });

  it("stores the session of a stream when its headers go out, and at its end what changed since", async () => {
    const store = new MemoryStore();
    const app = framework();
    app.use(session({ store, secret }));
    app.get("/events", (req, res) => {
      count(req);
      res.type("text/event-stream").write("data: 1\n\n");
      res.once("drain", () => {
        streaming = storedIn(store);
        count(req);
        res.end("data: 2\n\n");
      });
    });
    let streaming: unknown;

    const answer = await (await client(app)).get("/events");
    expect([answer.text, answer.set.length]).toEqual(["data: 1\n\ndata: 2\n\n", 1]);
    expect(streaming).toEqual([expect.objectContaining({ count: 1 })]);
    expect(storedIn(store)).toEqual([expect.objectContaining({ count: 2 })]);
  });

  it("touches the session of a stream once, or stores it, though it is looked at twice", async () => {
    const store = new MemoryStore();
    const app = framework();
    let touched = 0;
    app.use(session({ store, secret }));
    app.get("/events", (req, res) => {
      const { touch } = req.session;
      Object.defineProperty(req.session, "touch", {
        value: () => {
          touched++;
          return touch.call(req.session);
        },
      });
      if (req.query.count) count(req);
      res.type("text/event-stream").write("data: 1\n\n");
      res.once("drain", () => res.end("data: 2\n\n"));
    });
    const ann = await client(app);
    await ann.get("/events?count=1");
    const calls: string[] = [];
    const { set, touch } = store;
    store.set = (...args) => void (calls.push("set") && set.apply(store, args));
    store.touch = (...args) => void (calls.push("touch") && touch.apply(store, args));
    touched = 0;

    await ann.get("/events");
    await ann.get("/events?count=1");
    expect([calls, touched]).toEqual([["touch", "set"], 2]);
  });

  it("stores what a handler does after its client went away", async () => {
    const store = new MemoryStore();
    const app = framework();
    app.use(session({ store, secret }));
    const handled = new Promise<void>((resolve) => {
      app.get("/slow", (req, res) => {
        request.destroy();
        res.once("close", () => {
          count(req);
          res.send("late");
          resolve();
        });
      });
    });
    const { url, close } = await serve(app);
    onTestFinished(close);
    const request = http.get(`${url}/slow`).on("error", () => {});
    await handled;

    await expect.poll(() => storedIn(store)).toEqual([expect.objectContaining({ count: 1 })]);
  });
});

it("serves HTTP/2", async () => {
  const middleware = session({ store: new MemoryStore(), secret });
  const server = http2.createServer((req, res) =>
    middleware(req as unknown as Request, res as never, () => void res.end(count(req as unknown as Request))),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const connection = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  onTestFinished(() => {
    connection.destroy();
    server.close();
  });
  const get = async (cookie: string) => {
    const stream = connection.request({ ":path": "/", cookie });
    const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    let text = "";
    for await (const chunk of stream.setEncoding("utf8")) text += chunk;
    return { text, cookie: headers["set-cookie"]?.[0]?.split(";")[0] ?? "" };
  };

  const first = await get("");
  expect(first.text).toBe("1");
  expect((await get(first.cookie)).text).toBe("2");
});
