import { createSecretKey } from "node:crypto";
import session from "@msm/express";
import cookieParser from "cookie-parser";
import express, { type Express, type RequestHandler } from "express";
import expressSession from "express-session";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Client } from "./client.js";
import { serve } from "./serve.js";

/**
 * Behaviours that users of express-session know, each shown of it and of us: what passes here for one library and fails for
 * the other is a difference.
 */
const libraries = {
  "express-session 1.19": (options: object) => expressSession(options as expressSession.SessionOptions),
  "@msm/express with compat: 1": (options: object) => {
    const sessions = session({ ...options, compat: 1 } as session.SessionOptions);
    closings.push(() => sessions.manager.close());
    return sessions;
  },
  "@msm/express with a store": (options: object) => {
    const store = new session.MemoryStore();
    return session({ store, ...options, compat: 1 } as session.SessionOptions);
  },
};

declare module "express-session" {
  interface SessionData {
    hits: number;
    flag: string;
  }
}

const secret = "only for the tests of behaviours, 32 bytes and more";

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
  vi.restoreAllMocks();
});

/** Counts the client's requests in its session. */
const hit: RequestHandler = (req, res) => {
  req.session.hits = (req.session.hits ?? 0) + 1;
  res.send(String(req.session.hits));
};

const readHits: RequestHandler = (req, res) => void res.json(req.session?.hits ?? null);

describe.each(Object.entries(libraries))("%s", (_name, library) => {
  /** Serves an application that has the middleware, with the defaults of version 2 but for what is given. */
  async function serveWith(
    options: object,
    routes: (app: Express) => void,
    before: readonly RequestHandler[] = [],
  ): Promise<string> {
    const app = express();
    for (const handler of before) app.use(handler);
    app.use(library({ secret, resave: false, saveUninitialized: false, ...options }) as RequestHandler);
    routes(app);
    const { url, close } = await serve(app);
    closings.push(close);
    return url;
  }

  const client = async (
    options: object = {},
    routes: (app: Express) => void = (app) => {
      app.get("/hit{*rest}", hit);
      app.get("/read{*rest}", readHits);
    },
    before: readonly RequestHandler[] = [],
  ) => new Client(await serveWith(options, routes, before));

  describe("the cookie", () => {
    it("is `s:<id>.<signature>` under the name connect.sid, and sent once", async () => {
      const ann = await client({}, (app) => {
        app.get("/", (req, res) => {
          req.session.hits = 1;
          res.send(req.session.id);
        });
      });

      const { set, text: id } = await ann.get();

      expect(set).toEqual([expect.stringMatching(/^connect\.sid=s%3A[^;]+; Path=\/; HttpOnly$/)]);
      expect(decodeURIComponent(set[0]!)).toContain(`=s:${id}.`);
      expect(await ann.get()).toMatchObject({ set: [], text: id });
    });

    it.each([["name"], ["key"]])("has the name that the option %s gives", async (option) => {
      const ann = await client({ [option]: "sessid" });

      expect((await ann.get("/hit")).set).toEqual([expect.stringMatching(/^sessid=s%3A/)]);
      expect((await ann.get("/hit")).text).toBe("2");
    });

    it("has the attributes of the options", async () => {
      const cookie = {
        domain: "a.example",
        path: "/hit",
        httpOnly: false,
        sameSite: "strict",
        priority: "high",
      };
      const ann = await client({ cookie: { ...cookie, partitioned: true, maxAge: 60_000 } });

      const [set] = (await ann.get("/hit")).set;

      for (const attribute of ["Domain=a.example", "Path=/hit", "SameSite=Strict", "Priority=High"])
        expect(set).toContain(`; ${attribute}`);
      expect(set).toMatch(/; Expires=[^;]+; /);
      expect(set).toContain("; Partitioned");
      expect(set).not.toContain("HttpOnly");
    });

    it("is sent again with each change where it lasts, and not where the session was only read", async () => {
      const ann = await client({ cookie: { maxAge: 60_000 } });

      const answers = [await ann.get("/hit"), await ann.get("/read"), await ann.get("/hit")];

      expect(answers.map(({ set }) => set.length)).toEqual([1, 0, 1]);
    });

    it("is sent with each response of a stored session where it rolls", async () => {
      const ann = await client({ rolling: true });

      const answers = [await ann.get("/read"), await ann.get("/hit"), await ann.get("/read")];

      expect(answers.map(({ set }) => set.length)).toEqual([0, 1, 1]);
    });

    it("that is secure goes to requests over TLS alone, as far as `proxy` has proxies believed", async () => {
      const https = { headers: { "x-forwarded-proto": "https" } };
      const isSent = async (options: object, init: RequestInit = {}, trust = false) => {
        const ann = await client({ cookie: { secure: true }, ...options }, (app) => {
          app.set("trust proxy", trust);
          app.get("/hit", hit);
        });
        return (await ann.get("/hit", init)).set.length === 1;
      };

      expect(await isSent({ proxy: true }, https)).toBe(true);
      expect(await isSent({ proxy: true }, { headers: { "x-forwarded-proto": "https, http" } })).toBe(true);
      expect(await isSent({ proxy: true })).toBe(false);
      expect(await isSent({ proxy: false }, https, true)).toBe(false);
      expect(await isSent({}, https, true)).toBe(true);
      expect(await isSent({}, https, false)).toBe(false);
    });

    it("is secure, and for other sites, as its request came in where that is auto", async () => {
      const set = async (protocol: string) => {
        const ann = await client({ proxy: true, cookie: { secure: "auto", sameSite: "auto" } });
        return (await ann.get("/hit", { headers: { "x-forwarded-proto": protocol } })).set[0];
      };

      expect(await set("https")).toMatch(/; Secure; SameSite=None$/);
      expect(await set("http")).toMatch(/HttpOnly; SameSite=Lax$/);
    });

    it("has the attributes that a function gives for the request that begins the session", async () => {
      const cookie = ({ query }: express.Request) => ({
        path: "/",
        maxAge: query.remember ? 3_600_000 : null,
        httpOnly: query.remember === undefined,
      });
      const ann = await client({ cookie });

      const answers = [await ann.get("/hit?remember=1"), await ann.get("/hit")];

      for (const { set } of answers) {
        expect(set).toEqual([expect.stringContaining("; Expires=")]);
        expect(set[0]).not.toContain("HttpOnly");
      }
    });

    it("of another signature, or none, is no session's", async () => {
      const ann = await client();
      await ann.get("/hit");
      const url = await serveWith({}, (app) => app.get("/", hit));
      const [, value = ""] = /=(s%3A[^.]+)\./.exec(ann.cookie) ?? [];

      for (const forged of [value, value.replace("s%3A", ""), `${value}.${"x".repeat(43)}`, "x", ""]) {
        const other = new Client(url).take(`connect.sid=${forged}`);
        expect(await other.get(), forged).toMatchObject({ text: "1", set: [expect.anything()] });
        expect(other.cookie).not.toContain(`${value}.`);
      }
    });

    it("is taken from cookie-parser where the header does not have it", async () => {
      const hideHeader: RequestHandler = (req, _res, next) => {
        req.headers.cookie = "other=1";
        next();
      };
      for (const parser of [cookieParser(), cookieParser(secret)]) {
        const ann = await client({}, undefined, [parser, hideHeader]);

        expect((await ann.get("/hit")).text).toBe("1");
        expect((await ann.get("/hit")).text).toBe("2");
        ann.take(`connect.sid=${ann.cookie.slice("connect.sid=".length, -4)}xxxx`);
        expect((await ann.get("/hit")).text).toBe("1");
      }
    });

    it("stands beside those that the application sets, before and with the head", async () => {
      const ann = await client({}, (app) => {
        app.get("/before", (req, res) => {
          req.session.hits = 1;
          res.setHeader("Set-Cookie", "a=1");
          res.end();
        });
        app.get("/with", (req, res) => {
          req.session.flag = "x";
          res.writeHead(200, { "Set-Cookie": "b=2" });
          res.end();
        });
      });

      const names = async (path: string) =>
        (await ann.get(path)).set.map((cookie) => cookie.split("=")[0]).sort();

      expect(await names("/before")).toEqual(["a", "connect.sid"]);
      ann.take("connect.sid=");
      expect(await names("/with")).toEqual(["b", "connect.sid"]);
    });
  });

  describe("the option secret", () => {
    it.each([
      ["a text", secret],
      ["bytes", Buffer.from(Array.from({ length: 40 }, (_, at) => 200 + at))],
      ["a key", createSecretKey(Buffer.from(secret))],
      ["a list", [secret, "another one, of 32 bytes and more too"]],
      ["a short text", "keyboard cat"],
    ])("may be %s", async (_kind, value) => {
      vi.spyOn(process, "emitWarning").mockReturnValue();
      const ann = await client({ secret: value });

      expect((await ann.get("/hit")).text).toBe("1");
      expect((await ann.get("/hit")).text).toBe("2");
    });

    it("signs as it always did, so that what others sign and verify goes on working", async () => {
      vi.spyOn(process, "emitWarning").mockReturnValue();
      const ann = await client({ secret: "keyboard cat", genid: () => "apple" });

      expect((await ann.get("/hit")).set[0]).toContain(
        "connect.sid=s%3Aapple.D8Y%2BpkTAmeR0PobOhY4G97PRW%2Bj7bUnP%2F5m6%2FOn1MCU;",
      );
    });
  });

  describe("the option genid", () => {
    it("makes the id of each new session, of its request", async () => {
      let made = 0;
      const ann = await client({ genid: ({ path }: express.Request) => `${path}.${++made}` }, (app) => {
        app.get("/new", (req, res) => {
          req.session.hits = 1;
          res.send(req.sessionID);
        });
        app.get("/again", (req, res) => req.session.regenerate(() => res.send(req.sessionID)));
      });

      const ids = [
        (await ann.get("/new")).text,
        (await ann.get("/new")).text,
        (await ann.get("/again")).text,
      ];

      expect(ids).toEqual(["/new.1", "/new.1", "/again.2"]);
      expect(decodeURIComponent(ann.cookie)).toContain("s:/again.2.");
    });
  });

  describe("the option saveUninitialized", () => {
    it("false neither stores nor announces a session that nothing was put into", async () => {
      const ann = await client({ saveUninitialized: false }, (app) =>
        app.get("/", (req, res) => void res.send(req.sessionID)),
      );

      const [first, second] = [await ann.get(), await ann.get()];

      expect([first.set, second.set]).toEqual([[], []]);
      expect(second.text).not.toBe(first.text);
    });

    it("true does both", async () => {
      const ann = await client({ saveUninitialized: true }, (app) =>
        app.get("/", (req, res) => void res.send(req.sessionID)),
      );

      const [first, second] = [await ann.get(), await ann.get()];

      expect([first.set.length, second.set.length]).toEqual([1, 0]);
      expect(second.text).toBe(first.text);
    });
  });

  describe("the option unset", () => {
    const routes = (app: Express) => {
      app.get("/hit", hit);
      app.get("/null", (req, res) => {
        req.session.hits = 100;
        Object.assign(req, { session: null });
        res.send(String(req.session));
      });
      app.get("/delete", (req, res) => {
        Reflect.deleteProperty(req, "session");
        res.send(String(req.session));
      });
    };

    it.each([
      ["/null", "null"],
      ["/delete", "undefined"],
    ])('"keep" leaves alone what is stored, at %s', async (path, text) => {
      const ann = await client({}, routes);
      await ann.get("/hit");

      expect(await ann.get(path)).toMatchObject({ set: [], text });
      expect((await ann.get("/hit")).text).toBe("2");
    });

    it.each(["/null", "/delete"])('"destroy" ends the session, at %s', async (path) => {
      const ann = await client({ unset: "destroy" }, routes);
      await ann.get("/hit");
      const { cookie } = ann;

      await ann.get(path);

      ann.take(cookie);
      expect((await ann.get("/hit")).text).toBe("1");
      ann.take("connect.sid=");
      expect((await ann.get(path)).set).toEqual([]);
    });
  });

  describe("a request", () => {
    it("whose path does not begin with the cookie's has no session, in mounts too", async () => {
      const has: RequestHandler = (req, res) => void res.json(req.session !== undefined);
      const middleware = library({
        secret,
        resave: false,
        saveUninitialized: false,
        cookie: { path: "/a/b" },
      });
      const app = express();
      app.use("/a", middleware as RequestHandler, has);
      app.use(middleware as RequestHandler, has);
      const { url, close } = await serve(app);
      closings.push(close);
      const ann = new Client(url);

      const has_ = async (path: string) => (await ann.get(path)).text === "true";

      expect(await has_("/a/b/c?d")).toBe(true);
      expect(await has_("/a/bc")).toBe(true); // a prefix, and not a path as of RFC 6265
      expect(await has_("/a/c")).toBe(false);
      expect(await has_("/b")).toBe(false);
      expect(await has_("/")).toBe(false);
    });

    it("that has a session already is passed on as it is", async () => {
      const ann = await client({}, (app) => app.get("/", (req, res) => void res.json(req.session)), [
        (req, _res, next) => {
          Object.assign(req, { session: { mine: true } });
          next();
        },
      ]);

      expect(await ann.get()).toMatchObject({ text: '{"mine":true}', set: [] });
    });

    it("whose session has ended begins another, with another id", async () => {
      const ann = await client({}, (app) => {
        app.get("/new", (req, res) => {
          req.session.hits = 1;
          res.send(req.sessionID);
        });
        app.get("/end", (req, res) => req.session.destroy(() => res.send(String(req.session))));
      });
      const first = await ann.get("/new");
      const { cookie } = ann;

      expect((await ann.get("/end")).text).toBe("undefined");

      ann.take(cookie);
      const second = await ann.get("/new");
      expect(second.set).toHaveLength(1);
      expect(second.text).not.toBe(first.text);
    });

    it("that spoils req.sessionID has nothing saved, and gets no cookie", async () => {
      const ann = await client({}, (app) => {
        app.get("/spoil", (req, res) => {
          Object.assign(req, { sessionID: () => {} });
          req.session.hits = 100;
          res.send(typeof req.sessionID);
        });
        app.get("/hit", hit);
      });

      expect(await ann.get("/spoil")).toMatchObject({ text: "function", set: [] });
      await ann.get("/hit");
      await ann.get("/spoil");
      expect((await ann.get("/hit")).text).toBe("2");
    });
  });

  describe("req.session", () => {
    it("is a Session, whose enumerable members are its attributes and its cookie", async () => {
      const ann = await client({}, (app) =>
        app.get("/", (req, res) => {
          Object.assign(req.session, { hits: 1, flag: "x" });
          const inLoop = [];
          for (const name in req.session) inLoop.push(name);
          res.json([
            req.session instanceof expressSession.Session,
            req.session.cookie instanceof expressSession.Cookie,
            Object.keys(req.session).sort(),
            inLoop.sort(),
            JSON.parse(JSON.stringify(req.session)),
            req.session.id === req.sessionID,
            (req.session as unknown as { req: unknown }).req === req,
          ]);
        }),
      );

      expect(JSON.parse((await ann.get()).text)).toEqual([
        true,
        true,
        ["cookie", "flag", "hits"],
        ["cookie", "flag", "hits"],
        { cookie: { originalMaxAge: null, expires: null, httpOnly: true, path: "/" }, flag: "x", hits: 1 },
        true,
        true,
      ]);
    });

    it("takes a nested `cookie` for an attribute like any other", async () => {
      const ann = await client({}, (app) =>
        app.get("/", (req, res) => {
          const basket: Record<string, number> = Reflect.get(req.session, "basket") ?? { cookie: 0 };
          basket.cookie! += 1;
          Reflect.set(req.session, "basket", basket);
          res.json(basket);
        }),
      );

      await ann.get();
      await ann.get();

      expect((await ann.get()).text).toBe('{"cookie":3}');
    });

    it("has save(), which stores what the next request sees", async () => {
      const ann = await client({}, (app) => {
        app.get("/save", (req, res) => {
          req.session.hits = 5;
          req.session.save((error) => res.json(error ?? null));
        });
        app.get("/read", readHits);
      });

      expect(await ann.get("/save")).toMatchObject({ text: "null", set: [expect.anything()] });
      expect((await ann.get("/read")).text).toBe("5");
    });

    it("has reload(), which brings what another request stored, in a new object", async () => {
      const other = { hit: async () => {} };
      const ann = await client({}, (app) => {
        app.get("/hit", hit);
        app.get("/reload", async (req, res) => {
          const before = req.session;
          req.session.hits = 100;
          await other.hit();
          before.reload(() => res.json([req.session.hits, req.session === before]));
        });
      });
      await ann.get("/hit");
      other.hit = async () => void (await ann.get("/hit"));

      expect((await ann.get("/reload")).text).toBe("[2,false]");
    });

    it("has reload(), which says that it failed to load a session that is gone", async () => {
      const other = { end: async () => {} };
      const ann = await client({}, (app) => {
        app.get("/hit", hit);
        app.get("/end", (req, res) => req.session.destroy(() => res.send("bye")));
        app.get("/reload", async (req, res) => {
          await other.end();
          req.session.reload((error) => res.send(error.message));
        });
      });
      await ann.get("/hit");
      const { cookie } = ann;
      other.end = async () => {
        await ann.get("/end");
        ann.take(cookie);
      };

      expect((await ann.get("/reload")).text).toContain("failed to load session");
    });

    it("has regenerate(), which empties the session under another id and ends the old one", async () => {
      const ann = await client({}, (app) => {
        app.get("/hit", hit);
        app.get("/again", (req, res) => {
          const { id } = req.session;
          req.session.regenerate(() => res.json([req.session.id === id, req.session.hits ?? null]));
        });
        app.get("/id", (req, res) => void res.send(req.sessionID));
      });
      await ann.get("/hit");
      const { cookie } = ann;

      const { text, set } = await ann.get("/again");

      expect([text, set.length]).toEqual(["[false,null]", 1]);
      expect((await ann.get("/id")).text).toBe((await ann.get("/id")).text); // it is stored, though it is empty
      ann.take(cookie);
      expect((await ann.get("/hit")).text).toBe("1");
    });
  });

  describe("req.session.cookie", () => {
    it("holds for its session alone, and as long as it lives, where the application changes it", async () => {
      const ann = await client({ cookie: { maxAge: 60_000, domain: "a.example" } }, (app) => {
        app.get("/hit", hit);
        app.get("/change", (req, res) => {
          req.session.hits = 100;
          Object.assign(req.session.cookie, {
            path: "/hit",
            httpOnly: false,
            sameSite: "strict",
            domain: null,
          });
          res.send("ok");
        });
        app.get("/hit/show", (req, res) => void res.json(req.session.cookie));
      });

      const [changed] = (await ann.get("/change")).set;
      const { text, set } = await ann.get("/hit");

      for (const cookie of [changed, set[0]]) {
        expect(cookie).toMatch(/; Path=\/hit; Expires=[^;]+; SameSite=Strict$/);
        expect(cookie).not.toContain("Domain");
      }
      expect(text).toBe("101");
      expect(JSON.parse((await ann.get("/hit/show")).text)).toMatchObject({
        path: "/hit",
        httpOnly: false,
        sameSite: "strict",
      });
      ann.take("connect.sid=");
      expect((await ann.get("/hit")).set[0]).toMatch(/Domain=a\.example; Path=\/; Expires=[^;]+; HttpOnly$/);
    });

    it("may last longer, for ever, until the browser is closed, or not at all", async () => {
      const ages = { short: 5000, long: 3_000_000_000, none: null };
      const age = async (name: keyof typeof ages | "over") => {
        const ann = await client({ cookie: { maxAge: 60_000 } }, (app) =>
          app.get("/", (req, res) => {
            req.session.hits = 1;
            if (name === "over") req.session.cookie.expires = new Date(0);
            else req.session.cookie.maxAge = ages[name] as number;
            res.send("ok");
          }),
        );
        const { set, headers } = await ann.get();
        const [, expires] = /Expires=([^;]+)/.exec(set[0]!) ?? [];
        return expires === undefined ? null : Date.parse(expires) - Date.parse(headers.get("date")!);
      };

      for (const name of ["short", "long"] as const) {
        expect(Math.abs((await age(name))! - ages[name])).toBeLessThanOrEqual(2000); // whole seconds, twice
      }
      expect(await age("none")).toBeNull();
      expect(await age("over")).toBeLessThan(-1_000_000_000);
    });

    it("is not sent again with changes where the application made it end with the browser", async () => {
      const ann = await client({ cookie: { maxAge: 60_000 } }, (app) =>
        app.get("/", (req, res) => {
          req.session.cookie.expires = null;
          hit(req, res, () => {});
        }),
      );

      const answers = [await ann.get(), await ann.get()];

      expect(answers.map(({ set }) => set.length)).toEqual([1, 0]);
      expect(answers[0]!.set[0]).not.toContain("Expires");
    });

    it("of the old object is still its own after regenerate(), for who takes it along", async () => {
      const ann = await client({ cookie: { maxAge: 60_000 } }, (app) => {
        app.get("/remember", (req, res) => {
          req.session.cookie.maxAge = 3_600_000;
          hit(req, res, () => {});
        });
        app.get("/again", (req, res) => {
          const before = req.session;
          before.regenerate(() => {
            const fresh = req.session.cookie.originalMaxAge! <= 60_000;
            req.session.cookie = before.cookie;
            res.json([fresh, req.session.cookie.originalMaxAge! > 3_590_000]);
          });
        });
      });
      await ann.get("/remember");

      expect((await ann.get("/again")).text).toBe("[true,true]");
    });

    it("keeps its originalMaxAge in later requests, and counts maxAge down from it", async () => {
      const ann = await client({ cookie: { maxAge: 60_000 } }, (app) =>
        app.get("/", (req, res) => {
          req.session.hits = 1;
          const { originalMaxAge, maxAge } = req.session.cookie;
          res.json([
            originalMaxAge! > 59_990 && originalMaxAge! <= 60_000,
            maxAge! > 50_000 && maxAge! <= 60_000,
          ]);
        }),
      );

      expect((await ann.get()).text).toBe("[true,true]");
      expect((await ann.get()).text).toBe("[true,true]");
    });
  });
});
