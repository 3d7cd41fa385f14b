import type http from "node:http";
import { type StoreSessionOptions, session } from "@msm/express";
import type express from "express";
import type { Request } from "express";
import expressSession from "express-session";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { Client } from "../client.js";
import { serve } from "../serve.js";
import { storeApp } from "./store-app.js";

const { MemoryStore, Session, Store } = expressSession;

/** Counts what a store is asked, in order. */
function tapped<T extends expressSession.Store>(store: T): { store: T; calls: string[] } {
  const calls: string[] = [];
  for (const verb of ["get", "set", "touch", "destroy"] as const) {
    const method = store[verb] as ((...args: unknown[]) => unknown) | undefined;
    if (method === undefined) continue;
    Object.assign(store, {
      [verb](this: T, ...args: unknown[]) {
        calls.push(verb);
        return method.apply(this, args);
      },
    });
  }
  return { store, calls };
}

const count = (req: Request) => {
  req.session.count = (req.session.count ?? 0) + 1;
  return String(req.session.count);
};

describe("session() with a store", () => {
  it("gives each client its session, which is express-session's, with the store and the id beside it", async () => {
    const { client, store } = await storeApp((app) =>
      app.get("/", (req, res) => {
        const isSame = req.session instanceof Session && req.sessionStore === store;
        res.send(`${count(req)} ${isSame} ${req.sessionID === req.session.id} ${Object.keys(req.session)}`);
      }),
    );
    const ann = client();

    expect((await ann.get()).text).toBe("1 true true cookie,count");
    expect((await ann.get()).text).toBe("2 true true cookie,count");
    expect((await client().get()).text).toBe("1 true true cookie,count");
  });

  it("sends and reads the cookie that express-session sends and reads", async () => {
    const store = new MemoryStore();
    const options = { secret: "keyboard cat", resave: false, saveUninitialized: false, store };
    const handler =
      (middleware: express.RequestHandler) => (req: http.IncomingMessage, res: http.ServerResponse) =>
        middleware(req as Request, res as never, () => void res.end(count(req as Request)));
    const original = expressSession(options);
    const old = await serve(handler(original));
    const ours = await serve(handler(session(options)));
    onTestFinished(old.close);
    onTestFinished(ours.close);
    const client = new Client(old.url);
    const there = await client.get();
    const ask = async (url: string) => (await fetch(url, { headers: { cookie: client.cookie } })).text();

    expect(await ask(ours.url)).toBe("2");
    expect(await ask(old.url)).toBe("3");
    const [set = ""] = (await new Client(ours.url).get()).set;
    expect(set.replace(/=[^;]*/, "=")).toBe(there.set[0]?.replace(/=[^;]*/, "="));
  });

  it("signs with the first secret and verifies with all", async () => {
    const store = new MemoryStore();
    const routes = (app: express.Express) => app.get("/", (req, res) => res.send(count(req)));
    const old = await storeApp(routes, { store, secret: "old" });
    const rotated = await storeApp(routes, { store, secret: [Buffer.from("new"), "old"] });
    const stranger = await storeApp(routes, { store, secret: "new" });
    const ann = old.client();
    await ann.get();
    const bob = rotated.client();
    await bob.get();

    const ask = async (url: string, cookie: string) => (await fetch(url, { headers: { cookie } })).text();
    expect(await ask(rotated.url, ann.cookie)).toBe("2");
    expect(await ask(stranger.url, bob.cookie)).toBe("2");
    expect(await ask(stranger.url, ann.cookie)).toBe("1");
  });

  it("takes the first of several cookies of its name that verifies, and asks the store for no other", async () => {
    const { store, calls } = tapped(new MemoryStore());
    const { client, url } = await storeApp((app) => app.get("/", (req, res) => res.send(count(req))), {
      store,
    });
    const ann = client();
    await ann.get();
    calls.length = 0;

    const forged = "connect.sid=s%3Aforged.AAAA";
    const answer = await fetch(url, { headers: { cookie: `${forged}; ${ann.cookie}` } });
    expect(await answer.text()).toBe("2");
    expect(calls).toEqual(["get", "set"]);
    await fetch(url, { headers: { cookie: forged } });
    expect(calls).toEqual(["get", "set", "set"]);
  });

  it("begins a session of another id where the store has none of the client's", async () => {
    const store = new MemoryStore();
    const { client } = await storeApp(
      (app) => app.get("/", (req, res) => res.send(`${req.sessionID} ${count(req)}`)),
      {
        store,
      },
    );
    const ann = client();
    const [before] = (await ann.get()).text.split(" ");
    await new Promise((resolve) => store.clear(resolve));

    const [after, n] = (await ann.get()).text.split(" ");
    expect(n).toBe("1");
    expect(after).not.toBe(before);
  });

  it("passes on a request that has a session, one outside of the cookie's path, and one while the store is disconnected", async () => {
    const store = new MemoryStore();
    const { client } = await storeApp((app) => app.use((req, res) => void res.send(typeof req.session)), {
      store,
      cookie: { path: "/shop" },
    });

    expect((await client().get("/shop/cart")).text).toBe("object");
    expect((await client().get("/")).text).toBe("undefined");
    store.emit("disconnect");
    expect((await client().get("/shop")).text).toBe("undefined");
    store.emit("connect");
    expect((await client().get("/shop")).text).toBe("object");
  });

  it("works as connect middleware, in a mount, with what cookie-parser read", async () => {
    vi.spyOn(process, "emitWarning").mockReturnValue();
    onTestFinished(() => void vi.restoreAllMocks());
    const middleware = session({ store: new MemoryStore(), compat: 1 });
    const { url, close } = await serve((req, res) => {
      const { cookie = "" } = req.headers;
      req.headers = {};
      Object.assign(req, {
        secret: "a secret",
        cookies: { "connect.sid": decodeURIComponent(cookie.slice(12)) },
      });
      middleware(req as Request, res as never, () => void res.end(count(req as Request)));
    });
    onTestFinished(close);
    const client = new Client(url);

    await client.get();
    expect((await client.get()).text).toBe("2");
  });

  it("has no session without a secret", async () => {
    vi.spyOn(process, "emitWarning").mockReturnValue();
    onTestFinished(() => void vi.restoreAllMocks());
    const message = "secret option required for sessions";
    const options = { store: new MemoryStore(), secret: undefined };
    const { client } = await storeApp((app) => app.get("/", (_req, res) => res.send("")), {
      ...options,
      compat: 1,
    });

    expect(await client().get()).toMatchObject({ status: 500, text: message });
    const middleware = session({ ...options, compat: 1 });
    const { url, close } = await serve((req, res) => middleware(req, res, (error) => res.end(String(error))));
    onTestFinished(close);
    expect((await new Client(url).get()).text).toBe(`Error: ${message}`);
    expect(() => session(options)).toThrow(message);
  });

  describe("stores a session", () => {
    const routes = (app: express.Express) => {
      app.get("/", (_req, res) => res.send(""));
      app.get("/count", (req, res) => res.send(count(req)));
      app.get("/save", async (req, res) => {
        count(req);
        await req.session.save();
        res.send("");
      });
    };
    const visits = async (options: Partial<StoreSessionOptions>, ...paths: string[]) => {
      const { store, calls } = tapped(new MemoryStore());
      const { client } = await storeApp(routes, { store, ...options });
      const ann = client();
      const cookies: number[] = [];
      for (const path of paths) cookies.push((await ann.get(path)).set.length);
      return { calls, cookies };
    };
    const aged = { cookie: { maxAge: 60_000 } };

    it("that changed, and only touches one that did not", async () => {
      expect(await visits({}, "/", "/count", "/", "/count")).toEqual({
        calls: ["set", "get", "touch", "get", "set"],
        cookies: [0, 1, 0, 0],
      });
    });

    it("that nothing was put into, with saveUninitialized", async () => {
      expect(await visits({ saveUninitialized: true }, "/", "/")).toEqual({
        calls: ["set", "get", "touch"],
        cookies: [1, 0],
      });
    });

    it("that did not change, with resave", async () => {
      expect(await visits({ resave: true }, "/count", "/")).toEqual({
        calls: ["set", "get", "set"],
        cookies: [1, 0],
      });
    });

    it("and sends the cookie anew: with rolling always, one that lasts with each change", async () => {
      expect((await visits({ rolling: true }, "/", "/count", "/")).cookies).toEqual([0, 1, 1]);
      expect((await visits(aged, "/count", "/", "/count")).cookies).toEqual([1, 0, 1]);
    });

    it("once, where the handler saves it", async () => {
      expect(await visits({}, "/save", "/save")).toEqual({
        calls: ["set", "get", "set", "touch"],
        cookies: [1, 0],
      });
    });

    it("without touching, where the store cannot", async () => {
      const { store, calls } = tapped(Object.assign(new MemoryStore(), { touch: undefined }));
      const { client } = await storeApp(routes, { store });
      const ann = client();
      for (const path of ["/count", "/"]) await ann.get(path);

      expect(calls).toEqual(["set", "get"]);
    });
  });

  it("stores a regenerated session once, where the handler saves it", async () => {
    const { store, calls } = tapped(new MemoryStore());
    const { client } = await storeApp(
      (app) =>
        app.get("/", (req, res, next) => {
          req.session.regenerate((error) => {
            if (error) return next(error);
            count(req);
            req.session.save(() => res.send(""));
          });
        }),
      { store },
    );
    await client().get();

    expect(calls).toEqual(["destroy", "set"]);
  });

  it("makes JSON of a session twice per request at most, beside what the store makes", async () => {
    const { client } = await storeApp((app) => {
      app.get("/", (_req, res) => res.send(""));
      app.get("/count", (req, res) => res.send(count(req)));
    });
    const ann = client();
    await ann.get("/count");
    const stringify = vi.spyOn(JSON, "stringify");
    onTestFinished(() => stringify.mockRestore());
    const made = async (path: string) => {
      stringify.mockClear();
      await ann.get(path);
      return stringify.mock.calls.filter(([value]) => value instanceof Object && "count" in value).length;
    };

    expect(await made("/")).toBe(2 + 1); // MemoryStore's touch
    expect(await made("/count")).toBe(2 + 1); // and its set
  });

  it("decides `secure` and `sameSite` that are auto, and sends a secure cookie over TLS only", async () => {
    const visit = async (cookie: StoreSessionOptions["cookie"], isSecure: boolean) => {
      const { client } = await storeApp((app) => app.get("/", (req, res) => res.send(count(req))), {
        cookie,
        proxy: true,
      });
      const headers = { "x-forwarded-proto": isSecure ? "https, http" : "http" };
      return (await client().get("/", { headers })).set[0];
    };

    expect(await visit({ secure: "auto", sameSite: "auto" }, true)).toMatch(
      /HttpOnly; Secure; SameSite=None$/,
    );
    expect(await visit({ secure: "auto", sameSite: "auto" }, false)).toMatch(/HttpOnly; SameSite=Lax$/);
    expect(await visit(() => ({ secure: "auto" }), false)).toMatch(/HttpOnly$/);
    expect(await visit({ secure: true }, false)).toBeUndefined();
    expect(await visit({ partitioned: true, priority: "high", domain: "example.com" }, true)).toMatch(
      /; Domain=example.com; Path=\/; HttpOnly; Partitioned; Priority=High$/,
    );
  });

  it("asks a function for the cookie's options of each request", async () => {
    const { client } = await storeApp((app) => app.get("/", (req, res) => res.send(count(req))), {
      cookie: (req) => ({ maxAge: req.query.remember ? 60_000 : undefined }),
    });

    expect((await client().get("/?remember=1")).set[0]).toContain("Expires=");
    expect((await client().get("/")).set[0]).not.toContain("Expires=");
  });

  it("lets several middlewares share a store, each with options of its own", async () => {
    const store = new MemoryStore();
    const ask = async (name: string) => {
      const { client } = await storeApp((app) => app.get("/", (req, res) => res.send(count(req))), {
        store,
        name,
      });
      return client();
    };
    const [one, other] = [await ask("one"), await ask("other")];

    expect((await one.get()).set[0]).toMatch(/^one=/);
    expect((await other.get()).set[0]).toMatch(/^other=/);
  });

  it("takes stores of the old kind, which call the constructor as a function", async () => {
    function OldStore(this: expressSession.Store & { sessions: Map<string, string> }) {
      (Store as unknown as (this: object) => void).call(this);
      this.sessions = new Map();
    }
    OldStore.prototype = Object.create(Store.prototype);
    Object.assign(OldStore.prototype, {
      get(this: { sessions: Map<string, string> }, id: string, done: (error: null, found?: unknown) => void) {
        done(null, JSON.parse(this.sessions.get(id) ?? "null"));
      },
      set(this: { sessions: Map<string, string> }, id: string, value: unknown, done: () => void) {
        this.sessions.set(id, JSON.stringify(value));
        done();
      },
      destroy(this: { sessions: Map<string, string> }, id: string, done: () => void) {
        this.sessions.delete(id);
        done();
      },
    });
    const store = new (OldStore as unknown as new () => expressSession.Store)();
    const { client } = await storeApp((app) => app.get("/", (req, res) => res.send(count(req))), { store });
    const ann = client();

    await ann.get();
    expect((await ann.get()).text).toBe("2");
  });

  it("takes ENOENT for a session that is not there", async () => {
    const store = new MemoryStore();
    const { client } = await storeApp((app) => app.get("/", (req, res) => res.send(count(req))), { store });
    const ann = client();
    await ann.get();
    store.get = (_id, callback) => callback(Object.assign(new Error("no such file"), { code: "ENOENT" }));

    expect((await ann.get()).text).toBe("1");
  });

  it("warns of a MemoryStore in production", () => {
    const warn = vi.spyOn(process, "emitWarning").mockReturnValue();
    onTestFinished(() => {
      vi.restoreAllMocks();
      vi.unstubAllEnvs();
    });
    session({ store: new MemoryStore(), secret: "keyboard cat" });
    expect(warn).not.toHaveBeenCalled();
    vi.stubEnv("NODE_ENV", "production");
    session({ store: new MemoryStore(), secret: "keyboard cat" });

    expect(warn).toHaveBeenCalledWith(expect.stringContaining("MemoryStore"), {
      code: "MSM_WARN_MEMORY_ONLY",
    });
  });

  it("refuses what is no store, options that need nodes, and times that are none", () => {
    const make = (options: object) => () => session({ secret: "keyboard cat", ...options } as never);

    expect(make({ store: {} })).toThrow(/store must be an express-session store.*without get, set, destroy/);
    expect(make({ store: MemoryStore })).toThrow(/store must be an express-session store.*got function/);
    expect(make({ store: new MemoryStore(), storeTimeoutMs: 0 })).toThrow(/storeTimeoutMs must be/);
    expect(make({ store: new MemoryStore(), absoluteTimeoutMs: "1h" })).toThrow(/absoluteTimeoutMs must be/);
    expect(make({ store: new MemoryStore(), locking: "all" })).toThrow(
      /with a store, there is no option locking/,
    );
    expect(
      make({ store: new MemoryStore(), locking: "all", compat: 1, resave: true, saveUninitialized: true }),
    ).not.toThrow();
  });
});
