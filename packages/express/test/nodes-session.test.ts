import { testClock } from "@msm/conformance";
import { createSessionManager, memoryStorage } from "@msm/core";
import session, { type SessionMiddleware } from "@msm/express";
import express, { type Express, type RequestHandler } from "express";
import expressSession from "express-session";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Client } from "./client.js";
import { serve } from "./serve.js";

const secret = "only for the tests of sessions on nodes, 32 bytes";
const minute = 60_000;

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
  vi.restoreAllMocks();
});

const hit: RequestHandler = (req, res) => {
  req.session.hits = (req.session.hits ?? 0) + 1;
  res.send(String(req.session.hits));
};

const usual = (app: Express) => {
  app.get("/hit", hit);
  app.get("/read", (req, res) => void res.json(req.session.hits ?? null));
  app.get("/id", (req, res) => void res.send(req.sessionID));
  app.get("/end", async (req, res) => {
    await req.session.destroy();
    res.send("bye");
  });
};

async function clientOf(sessions: RequestHandler, routes: (app: Express) => void = usual): Promise<Client> {
  const app = express();
  app.use(sessions);
  routes(app);
  app.use(
    ((error, _req, res, _next) =>
      void res.status(error.status ?? 500).send(error.message)) as express.ErrorRequestHandler,
  );
  const { url, close } = await serve(app);
  closings.push(close);
  return new Client(url);
}

/** Makes the middleware, and closes it after the test. */
function sessionsWith(options: object = {}): SessionMiddleware {
  const sessions = session({ secret, ...options } as session.SessionOptions);
  closings.push(() => sessions.manager.close());
  return sessions;
}

const client = (options: object = {}, routes?: (app: Express) => void) =>
  clientOf(sessionsWith(options), routes);

describe("what is left out", () => {
  it("is as in express-session 2, with a cookie of msm's that is no other site's", async () => {
    const ann = await client();

    expect((await ann.get("/read")).set).toEqual([]);
    expect((await ann.get("/hit")).set).toEqual([
      expect.stringMatching(/^sid=[0-9a-f]{48}-n1-[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax$/),
    ]);
    expect(() => session({})).toThrow(new TypeError("secret option required for sessions"));
    expect(() => session(undefined as never)).toThrow(/MSM_ERR_OPTION: options must be an object/);
  });
});

describe("cookieFormat", () => {
  it('"express-session" without `compat: 1` has a cookie that express-session reads', async () => {
    const ann = await client({ cookieFormat: "express-session", name: "connect.sid" });
    const { text: id } = await ann.get("/id");
    await ann.get("/hit");

    expect(id).toMatch(/^[0-9a-f]{48}$/);
    expect(ann.cookie).toMatch(/^connect\.sid=s%3A[0-9a-f]{48}\./);
    expect((await ann.get("/hit")).text).toBe("2");
  });

  it('"express-session" sends the cookie anew that an older secret signed', async () => {
    const nodes = [{ storage: memoryStorage() }];
    const format = { cookieFormat: "express-session", nodes };
    const old = "an older secret of the same site, 32 bytes";
    const before = await client({ ...format, secret: old });
    await before.get("/hit");
    const ann = (await client({ ...format, secret: [secret, old] })).take(before.cookie);

    expect((await ann.get("/read")).set).toHaveLength(1);
    expect(await ann.get("/hit")).toMatchObject({ text: "2", set: [] });
    expect((await (await client({ ...format })).take(ann.cookie).get("/read")).text).toBe("2");
  });

  it('"express-session" does not go with sticky sessions, which need a route in the cookie', async () => {
    const sticky = { mode: "sticky", route: "app1" } as const;
    const manager = createSessionManager({ secret, ...sticky });
    closings.push(() => manager.close());
    vi.spyOn(process, "emitWarning").mockReturnValue();

    expect(() => session({ secret, ...sticky, cookieFormat: "express-session" })).toThrow(
      /MSM_ERR_OPTION.*route/,
    );
    const shared = await clientOf(session({ manager, secret, cookieFormat: "express-session" }));
    expect(await shared.get("/hit")).toMatchObject({
      status: 500,
      text: expect.stringMatching(/route/),
      set: [],
    });
    expect((await (await client({ ...sticky, compat: 1 })).get("/hit")).set[0]).toContain(".app1;");
  });

  it("takes req.secret of cookie-parser where a manager has the secret of what is stored", async () => {
    vi.spyOn(process, "emitWarning").mockReturnValue();
    const manager = createSessionManager({ secret });
    closings.push(() => manager.close());
    const sessions = session({ manager, compat: 1, resave: false, cookieFormat: "express-session" });
    const withSecret: RequestHandler = (req, res, next) => {
      Object.assign(req, { secret: "of cookie-parser" });
      sessions(req, res, next);
    };

    expect((await (await clientOf(withSecret)).get("/hit")).set).toHaveLength(1);
    expect(await (await clientOf(sessions)).get("/hit")).toMatchObject({
      status: 500,
      text: "secret option required for sessions",
    });
  });
});

describe("secrets", () => {
  it("of less than 32 bytes are refused with what to do, and accepted for a while with `compat: 1`", async () => {
    const warn = vi.spyOn(process, "emitWarning").mockReturnValue();
    const nodes = [{ storage: memoryStorage() }];
    const old = { compat: 1, resave: false, saveUninitialized: false, nodes };

    expect(() => session({ secret: "keyboard cat" })).toThrow(
      /MSM_ERR_OPTION: each secret .* 32 bytes.*compat: 1/,
    );
    const before = await client({ ...old, secret: "keyboard cat" });
    await before.get("/hit");
    expect(warn).toHaveBeenCalledWith(expect.stringContaining("rotate to a longer one"), {
      type: "DeprecationWarning",
      code: "MSM_DEP_SHORT_SECRET",
    });
    const ann = (await client({ ...old, secret: [secret, "keyboard cat"] })).take(before.cookie);
    expect((await ann.get("/hit")).text).toBe("2");
    expect((await (await client({ ...old })).take(ann.cookie).get("/hit")).text).toBe("3");
  });

  it("are the same as a text and as its bytes", async () => {
    const nodes = [{ storage: memoryStorage() }];
    const ann = await client({ nodes });
    await ann.get("/hit");

    expect(
      (await (await client({ nodes, secret: Buffer.from(secret) })).take(ann.cookie).get("/hit")).text,
    ).toBe("2");
  });

  it("never stand in the message that refuses them", () => {
    expect(() => session({ secret: "keyboard cat" })).toThrow(expect.not.stringContaining("keyboard"));
  });
});

describe("time", () => {
  it("cookie.maxAge is the idle timeout as well, unless that is given", async () => {
    const clock = testClock(Date.now());
    const short = await client({ clock, cookie: { maxAge: minute } });
    const long = await client({ clock, cookie: { maxAge: minute }, idleTimeoutMs: 10 * minute });
    for (const each of [short, long]) await each.get("/hit");

    await clock.turn(50_000);
    expect((await short.get("/read")).text).toBe("1"); // a use
    await clock.turn(50_000);
    expect((await short.get("/read")).text).toBe("1");
    await clock.turn(61_000);

    expect((await short.get("/read")).text).toBe("null");
    expect((await long.get("/read")).text).toBe("1");
  });

  it("cookie.maxAge is the idle timeout of all that the middleware's manager serves", async () => {
    const clock = testClock(Date.now());
    const { manager } = sessionsWith({ clock, cookie: { maxAge: 100 * minute } });
    const ann = await clientOf(session({ manager }));
    await ann.get("/hit");

    await clock.turn(90 * minute);

    expect((await ann.get("/read")).text).toBe("1");
  });

  it("cookie.maxAge beside a shared manager is the idle timeout of sessions that begin there, and no other's", async () => {
    const clock = testClock(Date.now());
    const manager = createSessionManager({ secret, clock, cookie: { maxAgeMs: 100 * minute } });
    closings.push(() => manager.close());
    const own = await clientOf(session({ manager, cookie: { maxAge: 100 * minute } }));
    const managers = await clientOf(session({ manager }));
    for (const each of [own, managers]) await each.get("/hit");

    await clock.turn(90 * minute);

    expect((await own.get("/read")).text).toBe("1");
    expect((await managers.get("/read")).text).toBe("null");
  });

  it("the age that a function gives, or a date, is the idle timeout of its session", async () => {
    const clock = testClock(Date.now());
    const made = await client({ clock, cookie: () => ({ maxAge: 100 * minute }) });
    const dated = await client({ clock, cookie: { expires: new Date(Date.now() + 100 * minute) } });
    const again = await client({ clock, cookie: () => ({ maxAge: 100 * minute }) }, (app) => {
      usual(app);
      app.get("/again", async (req, res) => {
        await req.session.regenerate();
        res.send("ok");
      });
    });
    for (const each of [made, dated, again]) await each.get("/hit");
    await again.get("/again");
    await again.get("/hit");

    await clock.turn(90 * minute); // the manager's own idle timeout is 30 minutes

    for (const each of [made, dated, again]) expect((await each.get("/read")).text).toBe("1");
  });

  it("absoluteTimeoutMs ends a session however much it is used", async () => {
    const clock = testClock();
    const ann = await client({ clock, absoluteTimeoutMs: 45 * minute });
    await ann.get("/hit");

    await clock.turn(25 * minute);
    expect((await ann.get("/hit")).text).toBe("2");
    await clock.turn(25 * minute);

    expect((await ann.get("/hit")).text).toBe("1");
  });

  it("renew sends a cookie that lasts again once half of its age is over, and never otherwise", async () => {
    let now = Date.now();
    vi.spyOn(Date, "now").mockImplementation(() => now);
    const ann = await client({ renew: true, cookie: { maxAge: 10 * minute } });
    const empty = await client({ renew: true, cookie: { maxAge: 10 * minute } });
    const sent = async () => (await ann.get("/read")).set.length;
    await ann.get("/hit");

    now += 4 * minute;
    expect(await sent()).toBe(0);
    now += 2 * minute;
    expect(await sent()).toBe(1);
    now += 4 * minute;
    expect(await sent()).toBe(0);
    now += 2 * minute;
    expect(await sent()).toBe(1);
    expect((await empty.get("/read")).set).toEqual([]);
  });

  it("touch() sends a cookie that lasts again", async () => {
    const ann = await client({ cookie: { maxAge: minute } }, (app) => {
      usual(app);
      app.get("/touch", (req, res) => {
        req.session.touch();
        res.send("ok");
      });
    });
    await ann.get("/hit");

    expect((await ann.get("/touch")).set).toHaveLength(1);
  });
});

describe("the cookie", () => {
  it.each(["destroy()", "unset"])(
    "of a session that %s ended is cleared, with its path and domain",
    async (how) => {
      const ann = await client({ unset: "destroy", cookie: { path: "/", domain: "a.example" } }, (app) => {
        usual(app);
        app.get("/change", (req, res) => {
          req.session.cookie.path = "/a";
          hit(req, res, () => {});
        });
        app.get("/unset", (req, res) => {
          Reflect.deleteProperty(req, "session");
          res.send("bye");
        });
      });
      await ann.get("/change");

      const { set } = await ann.get(how === "unset" ? "/unset" : "/end");

      expect(set).toEqual([
        "sid=; Max-Age=0; Domain=a.example; Path=/a; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax",
      ]);
    },
  );

  it("is the first of several of its name that verifies", async () => {
    for (const options of [{}, { cookieFormat: "express-session" }]) {
      const ann = await client(options);
      await ann.get("/hit");
      const { cookie } = ann;

      const answer = await ann.get("/hit", { headers: { cookie: `sid=forged; ${cookie}; sid=s:x.y` } });

      expect(answer.text).toBe("2");
      const hidden = `${"sid=forged; ".repeat(4)}${cookie}`;
      expect((await ann.get("/hit", { headers: { cookie: hidden } })).text).toBe("1");
    }
  });

  it("that was changed to what no cookie can be fails its request", async () => {
    const ann = await client({}, (app) => {
      app.get("/", (req, res) => {
        req.session.hits = 1;
        req.session.cookie.path = "/a;b";
        res.send("ok");
      });
    });

    expect(await ann.get()).toMatchObject({ status: 500, text: expect.stringContaining("path"), set: [] });
  });

  it("keeps its answer out of caches", async () => {
    expect((await (await client()).get("/hit")).headers.get("cache-control")).toBe("no-store");
  });

  it("has the attributes of the manager's option, where a manager is shared", async () => {
    const manager = createSessionManager({
      secret,
      cookie: { name: "shared", path: "/", domain: "a.example", sameSite: "strict", maxAgeMs: minute },
    });
    closings.push(() => manager.close());

    const [set] = (await (await clientOf(session({ manager }))).get("/hit")).set;
    const [other] = (await (await clientOf(session({ manager, cookie: { maxAge: null } }))).get("/hit")).set;

    expect(set).toMatch(
      /^shared=[^;]+; Max-Age=60; Domain=a\.example; Path=\/; Expires=.*; HttpOnly; SameSite=Strict$/,
    );
    expect(other).toMatch(/^shared=[^;]+; Domain=a\.example; Path=\/; HttpOnly; SameSite=Strict$/);
    expect(() => session({ manager, name: "other" })).toThrow(
      /MSM_ERR_OPTION: name must be that of the manager/,
    );
    expect(() => session({ manager, nodes: "n1:a:1" } as never)).toThrow(/there is no option nodes/);
  });
});

describe("regenerate()", () => {
  it("keeps what it is told to, with a promise or a callback", async () => {
    const ann = await client({}, (app) => {
      app.get("/fill", (req, res) => {
        Object.assign(req.session, { hits: 1, flag: "x" });
        res.send(req.sessionID);
      });
      app.get("/all", async (req, res) => {
        req.session.hits = 2;
        await req.session.regenerate({ keep: true });
        res.json([req.session.hits, req.session.flag, req.sessionID]);
      });
      app.get("/named", (req, res) => {
        req.session.regenerate({ keep: ["flag"] }, () => {
          res.json([req.session.hits ?? null, req.session.flag, req.sessionID]);
        });
      });
    });
    const ids = [(await ann.get("/fill")).text];

    for (const [path, kept] of Object.entries({ "/all": [2, "x"], "/named": [null, "x"] })) {
      const [hits, flag, id] = JSON.parse((await ann.get(path)).text);
      expect([hits, flag]).toEqual(kept);
      ids.push(id);
    }
    expect(new Set(ids).size).toBe(3);
  });
});

describe("the option previous", () => {
  const formerSecret = "keyboard cat";

  /** A site as it was, with express-session. */
  async function formerSite(options: object = {}) {
    const store = new expressSession.MemoryStore();
    const before = await clientOf(
      expressSession({ store, secret: formerSecret, resave: false, saveUninitialized: false, ...options }),
      (app) => {
        usual(app);
        app.get("/remember", (req, res) => {
          req.session.cookie.maxAge = 30 * 24 * 60 * minute;
          hit(req, res, () => {});
        });
      },
    );
    return { store, before };
  }

  const lengthOf = (store: expressSession.MemoryStore) =>
    new Promise((resolve, reject) =>
      store.length((error, length) => (error ? reject(error) : resolve(length))),
    );

  it("lets clients go on with the sessions they had, moved by their next request, once", async () => {
    const { store, before } = await formerSite();
    await before.get("/hit");
    const ann = (await client({ previous: { store, secret: formerSecret } })).take(before.cookie);

    const [first, second] = await Promise.all([ann.get("/read"), ann.get("/read")]);
    expect([first.text, second.text]).toEqual(["1", "1"]);
    expect(first.set).toEqual([expect.stringMatching(/^sid=/)]);
    expect(await lengthOf(store)).toBe(0);

    const { text, set } = await ann.get("/hit");
    expect(text).toBe("2");
    expect(set).toEqual([expect.stringMatching(/^connect\.sid=; Max-Age=0; Path=\//)]);
    expect(await ann.get("/hit")).toMatchObject({ text: "3", set: [] });
    expect(ann.cookie).toMatch(/^sid=[^;]+$/);
  });

  it("keeps the age that a cookie was given", async () => {
    const { store, before } = await formerSite();
    await before.get("/remember");
    const ann = (await client({ previous: { store, secret: formerSecret } })).take(before.cookie);

    expect((await ann.get("/read")).set[0]).toMatch(/^sid=.*; Max-Age=2592000;/);
  });

  it("works under the former cookie's name, which the new cookie then has", async () => {
    const { store, before } = await formerSite({ name: "s" });
    await before.get("/hit");
    const previous = { store, secret: formerSecret, name: "s" };
    const ann = (await client({ name: "s", previous })).take(before.cookie);

    expect((await ann.get("/hit")).set).toEqual([expect.stringMatching(/^s=[0-9a-f]{48}-/)]);
    expect(await ann.get("/hit")).toMatchObject({ text: "3", set: [] });
  });

  it("logs nobody out whose former session cannot be read", async () => {
    const { store, before } = await formerSite();
    await before.get("/hit");
    const ann = (await client({ previous: { store, secret: formerSecret } })).take(before.cookie);
    const get = vi.spyOn(store, "get").mockImplementation((_id, callback) => callback(new Error("away")));

    expect(await ann.get("/hit")).toMatchObject({ status: 503, set: [] });
    get.mockRestore();
    expect((await ann.get("/hit")).text).toBe("2");
  });

  it("takes nothing that the former secret did not sign, and what is over for over", async () => {
    const { store, before } = await formerSite({ cookie: { maxAge: minute } });
    await before.get("/hit");
    const options = { previous: { store, secret: formerSecret } };
    const [name, value = ""] = before.cookie.split("=");
    const forger = (await client(options)).take(`${name}=${value.slice(0, -4)}xxxx`);
    const late = (await client(options)).take(before.cookie);

    expect((await forger.get("/read")).text).toBe("null");
    vi.spyOn(store, "get").mockImplementation((_id, callback) =>
      callback(null, { hits: 5, cookie: { originalMaxAge: 1, expires: new Date(0) } } as never),
    );
    expect((await late.get("/read")).text).toBe("null");
  });

  it.each([
    [{ store: {} }, /previous\.store must be a store of express-session/],
    [
      { store: new expressSession.MemoryStore(), name: "sid" },
      /previous, the cookie "sid" needs another name/,
    ],
  ])("refuses %o", (previous, message) => {
    const options = { secret, cookieFormat: "express-session", previous };

    expect(() => session(options as never)).toThrow(message);
  });
});

describe("requests at once", () => {
  /** A request that has read its session, and goes on once `goOn` is called. */
  async function slowly(ann: Client, path: string, slow: { entered: () => void; gate: Promise<void> }) {
    let goOn = () => {};
    slow.gate = new Promise((resolve) => (goOn = resolve));
    const entered = new Promise<void>((resolve) => (slow.entered = resolve));
    const answer = ann.get(path);
    await entered;
    return { answer, goOn };
  }

  it("keep what each of them changed, and bring back no session that ended meanwhile", async () => {
    const slow = { entered: () => {}, gate: Promise.resolve() };
    const ann = await client({}, (app) => {
      usual(app);
      app.get("/slow", async (req, res) => {
        req.session.flag = "x";
        slow.entered();
        await slow.gate;
        res.send("ok");
      });
      app.get("/flag", (req, res) => void res.json([req.session.hits ?? null, req.session.flag ?? null]));
    });
    await ann.get("/hit");

    const first = await slowly(ann, "/slow", slow);
    await ann.get("/hit");
    first.goOn();
    await first.answer;
    expect((await ann.get("/flag")).text).toBe('[2,"x"]');

    const second = await slowly(ann, "/slow", slow);
    const { cookie } = ann;
    await ann.get("/end");
    second.goOn();
    await second.answer;
    expect((await ann.take(cookie).get("/flag")).text).toBe("[null,null]");
  });
});

describe("asks no node for anything", () => {
  it("where the session of a request is taken away that never was stored", async () => {
    const storage = memoryStorage();
    const destroyed = vi.spyOn(storage, "putIfNewer");
    const ann = await client({ nodes: [{ storage }], unset: "destroy" }, (app) => {
      app.get("/", (req, res) => {
        req.session.hits = 1;
        Object.assign(req, { session: null });
        res.send("ok");
      });
      app.get("/stored", async (req, res) => {
        req.session.hits = 1;
        await req.session.save();
        Object.assign(req, { session: null });
        res.send("ok");
      });
    });

    expect(await ann.get()).toMatchObject({ status: 200, set: [] });
    expect(destroyed).not.toHaveBeenCalled();
    expect((await ann.get("/stored")).status).toBe(200);
    expect(destroyed).toHaveBeenCalled();
  });

  it("where a session was read that began without a cookie of its own", async () => {
    const storage = memoryStorage();
    const nodes = [{ storage }];
    const ann = await client({ nodes });
    await ann.get("/hit");
    const saved = vi.spyOn(storage, "save");
    const other = (await client({ nodes, cookie: () => ({ path: "/" }) })).take(ann.cookie);

    expect((await other.get("/read")).text).toBe("1");
    expect(saved).not.toHaveBeenCalled();
  });
});

it("goes on without a session where the application's cookie function throws, with its error", async () => {
  const ann = await client({
    cookie: () => {
      throw new Error("no cookie today");
    },
  });

  expect(await ann.get("/hit")).toMatchObject({ status: 500, text: "no cookie today" });
});

it("shows its sessions as a store in req.sessionStore, as express-session does", async () => {
  const ann = await client({}, (app) => {
    usual(app);
    app.get("/look/:id", (req, res) => {
      req.sessionStore.get(req.params.id, (_error, found) => res.json(found?.hits ?? null));
    });
    app.get("/kick/:id", (req, res) => req.sessionStore.destroy(req.params.id, () => res.send("ok")));
  });
  await ann.get("/hit");
  const { text: id } = await ann.get("/id");
  const bob = new Client(ann.url);
  await bob.get("/hit");

  expect((await bob.get(`/look/${id}`)).text).toBe("1");
  await bob.get(`/kick/${id}`);
  expect((await bob.get(`/look/${id}`)).text).toBe("null");
  expect((await ann.get("/read")).text).toBe("null");
});

it("refuses another session's id in req.sessionID, and takes back its own", async () => {
  const ann = await client({}, (app) => {
    app.get("/", (req, res) => {
      const own = req.sessionID;
      expect(() => Object.assign(req, { sessionID: "another" })).toThrow(/regenerate\(\)/);
      Object.assign(req, { sessionID: undefined });
      Object.assign(req, { sessionID: own });
      hit(req, res, () => {});
    });
  });

  expect((await ann.get()).set).toHaveLength(1);
  expect((await ann.get()).text).toBe("2");
});

it("refuses an id that no cookie can hold", async () => {
  const ann = await client({ genid: () => "two words" });

  expect(await ann.get("/hit")).toMatchObject({
    status: 500,
    text: expect.stringContaining("a session id must be"),
  });
});
