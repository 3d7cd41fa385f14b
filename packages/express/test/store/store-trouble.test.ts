import { once } from "node:events";
import http from "node:http";
import type { Express, Request } from "express";
import expressSession from "express-session";
import { describe, expect, it } from "vitest";
import { storeApp } from "./store-app.js";

const { MemoryStore } = expressSession;
const boom = () => Object.assign(new Error("boom"), { code: "ECONNREFUSED" });

const count = (req: Request) => {
  req.session.count = (req.session.count ?? 0) + 1;
  return String(req.session.count);
};

const routes = (app: Express) => {
  app.get("/", (_req, res) => res.send("hello"));
  app.get("/count", (req, res) => res.send(count(req)));
  app.get("/redirect", (req, res) => {
    count(req);
    res.redirect("/");
  });
  app.get("/destroy", (req, res, next) => {
    req.session.destroy((error) => (error ? next(error) : res.send("bye")));
  });
  app.get("/destroy-unawaited", (req, res) => {
    void req.session.destroy();
    res.send("bye");
  });
  app.get("/destroy-unheeded", async (req, res) => {
    void req.session.destroy();
    await new Promise(setImmediate); // while the store says no
    res.send("bye");
  });
  app.get("/regenerate", async (req, res) => {
    await req.session.regenerate();
    res.send(count(req));
  });
  app.get("/save-unawaited", (req, res) => {
    count(req);
    void req.session.save();
    res.send("saved");
  });
  app.get("/unset", (req, res) => {
    req.session = null as never;
    res.send("bye");
  });
};

/** A promise, and what resolves it. */
function gate(): { open(): void; opened: Promise<void> } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

describe("where the store is slow", () => {
  it("nothing is on the wire before the session is saved, headers included", async () => {
    const store = new MemoryStore();
    const { set } = store;
    const [called, go] = [gate(), gate()];
    store.set = (...args) => {
      called.open();
      void go.opened.then(() => set.apply(store, args));
    };
    const { url } = await storeApp(routes, { store });
    const request = http.get(`${url}/redirect`);
    let isAnswered = false;
    const answered = once(request, "response").then(([response]) => {
      isAnswered = true;
      return response as http.IncomingMessage;
    });

    await called.opened;
    await new Promise((resolve) => setImmediate(resolve));
    expect(isAnswered).toBe(false);
    go.open();
    const response = await answered;
    response.resume();
    expect([response.statusCode, response.headers.location]).toEqual([302, "/"]);
    expect(Object.keys((store as unknown as { sessions: object }).sessions)).toHaveLength(1);
  });

  it("an answer waits for a save() and a destroy() that its handler does not wait for", async () => {
    const store = new MemoryStore();
    const pending: (() => void)[] = [];
    const { set, destroy } = store;
    store.set = (...args) => void pending.push(() => set.apply(store, args));
    store.destroy = (...args) => void pending.push(() => destroy.apply(store, args));
    const { client } = await storeApp(routes, { store });
    const ann = client();
    const finishOne = async () => {
      await expect.poll(() => pending.length).toBe(1);
      pending.shift()?.();
    };

    const [saved] = await Promise.all([ann.get("/save-unawaited"), finishOne()]);
    expect(saved).toMatchObject({ status: 200, text: "saved" });
    const [bye] = await Promise.all([ann.get("/destroy-unawaited"), finishOne()]);
    expect(bye.set[0]).toMatch(/^connect.sid=; /);
  });

  it("a request fails with 503 once storeTimeoutMs are over, in each of its calls", async () => {
    const store = new MemoryStore();
    const { client } = await storeApp(routes, { store, storeTimeoutMs: 30 });
    const ann = client();
    const methods = { get: store.get, set: store.set, touch: store.touch, destroy: store.destroy };
    await ann.get("/count");

    for (const [verb, path] of [
      ["get", "/"],
      ["set", "/count"],
      ["touch", "/"],
      ["destroy", "/destroy"],
      ["destroy", "/destroy-unawaited"],
    ] as const) {
      Object.assign(store, { [verb]: () => {} });
      const answer = await ann.get(path);
      expect([verb, answer.status, answer.set]).toEqual([verb, 503, []]);
      expect(answer.text).toMatch(/MSM_ERR_STORAGE_TIMEOUT.*did not call back within 30 ms/);
      Object.assign(store, methods);
    }
    expect((await ann.get("/count")).text).toBe("2");
  });
});

describe("where the store fails", () => {
  it("what it said answers in place of the handler, without a session cookie", async () => {
    const store = new MemoryStore();
    const { client, errors } = await storeApp(routes, { store });
    const { set } = store;
    store.set = (_id, _session, callback) => callback?.(boom());
    const ann = client();

    for (const path of ["/count", "/redirect", "/save-unawaited"]) {
      expect(await ann.get(path)).toMatchObject({ status: 503, text: "boom", set: [] });
    }
    expect(errors).toEqual([boom(), boom(), boom()]);
    store.set = set;
    expect((await ann.get("/count")).text).toBe("1");
  });

  it.each([
    ["touch", "/", {}],
    ["destroy", "/unset", { unset: "destroy" }],
    ["destroy", "/destroy-unawaited", {}],
  ] as const)("so does what it says to %s", async (verb, path, options) => {
    const store = new MemoryStore();
    const { client } = await storeApp(routes, { store, ...options });
    const ann = client();
    await ann.get("/count");
    Object.assign(store, {
      [verb]: (...args: unknown[]) => (args.at(-1) as (error: Error) => void)(boom()),
    });

    expect(await ann.get(path)).toMatchObject({ status: 503, text: "boom", set: [] });
  });

  it("what it throws or rejects with is an error like one that it calls back with", async () => {
    const store = new MemoryStore();
    const { client } = await storeApp(routes, { store });
    const ann = client();
    await ann.get("/count");
    const { set, get } = store;
    store.set = () => {
      throw boom();
    };
    expect(await ann.get("/count")).toMatchObject({ status: 503, text: "boom" });
    store.set = () => Promise.reject(boom()) as never;
    expect(await ann.get("/count")).toMatchObject({ status: 503, text: "boom" });
    store.set = set;
    store.get = () => {
      throw boom();
    };
    expect(await ann.get("/count")).toMatchObject({ status: 500, text: "boom" });
    store.get = () => Promise.reject(boom()) as never;
    expect(await ann.get("/count")).toMatchObject({ status: 500, text: "boom" });
    store.get = get;
    expect((await ann.get("/count")).text).toBe("2");
  });

  it("what cannot be read is passed on, and neither a session nor a cookie is made in its place", async () => {
    const store = new MemoryStore();
    const { client } = await storeApp(routes, { store });
    const ann = client();
    await ann.get("/count");
    const { get } = store;
    store.get = (_id, callback) => callback(boom());

    expect(await ann.get("/count")).toMatchObject({ status: 500, text: "boom", set: [] });
    store.get = get;
    expect((await ann.get("/count")).text).toBe("2");
  });

  it("a save whose error the handler does not mind is tried again before the answer", async () => {
    const store = new MemoryStore();
    const { client } = await storeApp(
      (app) => {
        routes(app);
        app.get("/save", (req, res) => {
          count(req);
          req.session.save(() => res.send("saved"));
        });
      },
      { store },
    );
    const ann = client();
    const { set } = store;
    store.set = (_id, _session, callback) => {
      store.set = set;
      callback?.(boom());
    };

    expect(await ann.get("/save")).toMatchObject({ status: 200, text: "saved" });
    expect((await ann.get("/count")).text).toBe("2");
  });

  it("a session that was stored without its cookie is an error", async () => {
    const store = new MemoryStore();
    const { client } = await storeApp(routes, { store });
    const ann = client();
    await ann.get("/count");
    store.get = (_id, callback) => callback(null, { count: 1 } as never);

    expect(await ann.get("/count")).toMatchObject({
      status: 500,
      text: expect.stringMatching(/Cannot read prop/),
    });
  });

  it("a session that has no JSON fails its request", async () => {
    const { client } = await storeApp((app) =>
      app.get("/", (req, res) => {
        Object.assign(req.session, { big: 1n });
        res.send("ok");
      }),
    );

    expect(await client().get()).toMatchObject({
      status: 500,
      text: expect.stringContaining("BigInt"),
      set: [],
    });
  });

  it("a handler runs once, though the store calls back twice", async () => {
    const store = new MemoryStore();
    let runs = 0;
    const { client } = await storeApp(
      (app) => {
        app.get("/", (req, res) => {
          runs++;
          res.send(count(req));
        });
      },
      { store },
    );
    const ann = client();
    await ann.get();
    const { get } = store;
    store.get = (id, callback) =>
      get.call(store, id, (...results) => {
        callback(...results);
        callback(new Error("again"));
      });

    expect(await ann.get()).toMatchObject({ status: 200, text: "2" });
    expect(runs).toBe(2);
  });

  it("of a stream that has begun, the connection is cut", async () => {
    const store = new MemoryStore();
    const { client } = await storeApp(
      (app) =>
        app.get("/", (req, res) => {
          count(req);
          res.write("begun");
          res.once("drain", () => {
            count(req);
            store.set = (_id, _session, callback) => callback?.(boom());
            res.end("and ended");
          });
        }),
      { store },
    );

    await expect(client().get()).rejects.toThrow();
  });
});

describe("the end of a session", () => {
  it("clears its cookie, with the attributes that the cookie had", async () => {
    const { client } = await storeApp(routes, {
      unset: "destroy",
      cookie: { domain: "localhost", secure: "auto", maxAge: 60_000 },
    });
    for (const path of ["/destroy", "/destroy-unawaited", "/unset"]) {
      const ann = client();
      await ann.get("/count");
      expect((await ann.get(path)).set).toEqual([
        "connect.sid=; Max-Age=0; Domain=localhost; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly",
      ]);
      expect((await ann.get("/count")).text).toBe("1");
    }
    expect((await client().get("/destroy")).set).toEqual([]);
  });

  it("is none where a request only lets go of its session", async () => {
    const { client } = await storeApp(routes);
    const ann = client();
    await ann.get("/count");

    expect((await ann.get("/unset")).set).toEqual([]);
    expect((await ann.get("/count")).text).toBe("2");
  });

  it("holds against a slow request that had the session before", async () => {
    const [entered, go] = [gate(), gate()];
    const { client, store } = await storeApp(
      (app) => {
        routes(app);
        app.get("/slow", async (req, res) => {
          entered.open();
          await go.opened;
          count(req);
          await req.session.save();
          res.send(count(req));
        });
        app.get("/regenerate", async (req, res) => {
          await req.session.regenerate();
          res.send(count(req));
        });
      },
      { rolling: true },
    );
    const ann = client();
    await ann.get("/count");
    const { cookie } = ann;

    const slow = ann.get("/slow");
    await entered.opened;
    await ann.get("/destroy");
    go.open();
    expect(await slow).toMatchObject({ status: 200, text: "3", set: [] });
    expect(Object.keys((store as unknown as { sessions: object }).sessions)).toEqual([]);
    expect(ann.cookie).toBe("");
    expect(cookie).not.toBe("");
  });

  it("does not count where the store did not take it", async () => {
    const store = new MemoryStore();
    const { destroy } = store;
    const { client } = await storeApp(routes, { store });
    const ann = client();
    await ann.get("/count");
    store.destroy = (_id, callback) => callback?.(boom());
    expect(await ann.get("/destroy")).toMatchObject({ status: 500, text: "boom", set: [] });
    store.destroy = destroy;

    expect((await ann.get("/count")).text).toBe("2");
    expect((await ann.get("/count")).text).toBe("3");
  });

  it("does not count where the store did not take it and nobody looked", async () => {
    const store = new MemoryStore();
    const { destroy } = store;
    const { client } = await storeApp(routes, { store });
    const ann = client();
    await ann.get("/count");
    store.destroy = (_id, callback) => callback?.(boom());
    expect(await ann.get("/destroy-unheeded")).toMatchObject({ text: "boom", set: [] });
    store.destroy = destroy;

    expect((await ann.get("/count")).text).toBe("2");
  });

  it.each<[string, (callback?: (error: unknown) => void) => unknown]>([
    ["calls back with an error", (callback) => callback?.(boom())],
    ["rejects", () => Promise.reject(boom())],
    [
      "throws",
      () => {
        throw boom();
      },
    ],
  ])("leaves the client its session where it was to get another id and the store %s", async (_how, fail) => {
    const store = new MemoryStore();
    const { destroy } = store;
    const { client } = await storeApp(routes, { store });
    const ann = client();
    await ann.get("/count");
    store.destroy = ((_id: string, callback: (error: unknown) => void) => fail(callback)) as typeof destroy;
    expect(await ann.get("/regenerate")).toMatchObject({ status: 500, text: "boom", set: [] });
    store.destroy = destroy;

    expect((await ann.get("/count")).text).toBe("2");
  });

  it("comes with absoluteTimeoutMs, however much the session is used", async () => {
    const { client, store } = await storeApp(routes, { absoluteTimeoutMs: 60_000 });
    const ann = client();
    await ann.get("/count");
    expect((await ann.get("/count")).text).toBe("2");
    const { sessions } = store as unknown as { sessions: Record<string, string> };
    const age = (ageMs: number | undefined) => {
      for (const [id, json] of Object.entries(sessions)) {
        const createdAtMs = ageMs === undefined ? undefined : Date.now() - ageMs;
        sessions[id] = JSON.stringify({ ...JSON.parse(json), createdAtMs });
      }
    };

    age(undefined); // stored before the option was set
    expect((await ann.get("/count")).text).toBe("3");
    age(59_000);
    expect((await ann.get("/count")).text).toBe("4");
    age(60_001);
    expect((await ann.get("/count")).text).toBe("1");
    expect(Object.keys(sessions)).toHaveLength(1);
  });
});

describe("the methods of req.session", () => {
  it("take a callback and return the session, or give a promise", async () => {
    const { client } = await storeApp((app) => {
      app.get("/callbacks", (req, res) => {
        const { session } = req;
        count(req);
        const returned = session.save(() => {
          session.reload(() => {
            req.session.regenerate(() => {
              req.session.destroy(() => res.send(`${returned === session} ${req.session}`));
            });
          });
        });
      });
      app.get("/promises", async (req, res) => {
        count(req);
        const { id } = req.session;
        await req.session.save();
        await req.session.reload();
        const isReloaded = req.session.count === 1;
        await req.session.regenerate();
        const isEmpty = req.session.count === undefined && req.session.id !== id;
        await req.session.destroy();
        res.send(`${isReloaded} ${isEmpty} ${req.session}`);
      });
      app.get("/gone", async (req, res) => {
        const { message } = await req.session.reload().then(
          () => new Error("found"),
          (error: Error) => error,
        );
        res.send(message);
      });
    });

    expect((await client().get("/callbacks")).text).toBe("true undefined");
    expect((await client().get("/promises")).text).toBe("true true undefined");
    expect((await client().get("/gone")).text).toBe("failed to load session");
  });

  it("keep what they are told to under a new id", async () => {
    const { client } = await storeApp((app) => {
      app.get("/", (req, res) => {
        Object.assign(req.session, { count: 1, items: ["book"] });
        res.send(req.session.id);
      });
      app.get("/regenerate", async (req, res) => {
        const { keep } = req.query;
        await req.session.regenerate({ keep: keep === "true" ? true : keep === "all" ? "all" : ["items"] });
        const { id, items, count } = req.session;
        res.json({ id, items, count });
      });
      app.get("/callback", (req, res) => {
        req.session.regenerate({ keep: true }, () => res.json(req.session.items));
      });
      app.get("/grace", async (req) => {
        await req.session.regenerate({ keep: "all", grace: true });
      });
    });
    const ann = client();
    const id = (await ann.get()).text;
    const kept = async (keep: string) => JSON.parse((await ann.get(`/regenerate?keep=${keep}`)).text);

    expect(await kept("true")).toMatchObject({ items: ["book"], count: 1 });
    expect(await kept("all")).toMatchObject({ items: ["book"], count: 1 });
    const named = await kept("items");
    expect(named).toEqual({ id: expect.any(String), items: ["book"] });
    expect(named.id).not.toBe(id);
    expect((await ann.get("/callback")).text).toBe('["book"]');
    expect((await ann.get("/grace")).text).toMatch(/needs msm's `nodes`/);
  });

  it("save nothing at the end that reload() brought unchanged", async () => {
    const store = new MemoryStore();
    const { client } = await storeApp(
      (app) => {
        routes(app);
        app.get("/reload", async (req, res) => {
          await ann.get("/count");
          await req.session.reload();
          sets = 0;
          res.send(String(req.session.count));
        });
      },
      { store },
    );
    let sets = 0;
    const { set } = store;
    store.set = (...args) => {
      sets++;
      set.apply(store, args);
    };
    const ann = client();
    await ann.get("/count");

    expect((await ann.get("/reload")).text).toBe("2");
    expect(sets).toBe(0);
  });
});
