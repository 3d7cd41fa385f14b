import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { createSessionManager, MsmError, type SessionManager, type SessionRequest } from "@msm/core";
import session from "@msm/express";
import compression from "compression";
import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler } from "express";
import expressSession from "express-session";
import express4 from "express4";
import { Passport } from "passport";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { serve } from "./serve.js";

declare module "express-session" {
  interface SessionData {
    cart: string[];
    visits: number;
  }
}

const secret = "only for the tests of this package, 32 bytes and more";
const text = "0123456789".repeat(20_000);

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

async function start(app: Express): Promise<string> {
  const { url, close } = await serve(app);
  closings.push(close);
  return url;
}

function newManager(options: Partial<Parameters<typeof createSessionManager>[0]> = {}): SessionManager {
  const manager = createSessionManager({ secret, ...options } as Parameters<typeof createSessionManager>[0]);
  closings.push(() => manager.close());
  return manager;
}

/** A manager that notes the requests it opens. */
function watchedManager() {
  const opened: SessionRequest[] = [];
  const manager = newManager();
  const watched: SessionManager = {
    ...manager,
    open(request) {
      opened.push(request);
      return manager.open(request);
    },
  };
  return { manager: watched, opened };
}

/** A manager each of whose commits fails while `failing.now` is true. */
function failingManager(failing: { now: boolean }): SessionManager {
  const manager = newManager();
  return {
    ...manager,
    async open(request) {
      const exchange = await manager.open(request);
      return {
        session: exchange.session,
        cookie: () => exchange.cookie(),
        end: () => exchange.end(),
        async commit() {
          if (!failing.now) return exchange.commit();
          return { outcome: "failed", error: new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "a test's fault") };
        },
      };
    },
  };
}

/** Asks as one client, which keeps its session's cookie. */
function visitor(url: string) {
  const kept: { cookie?: string } = {};
  const ask = async (path: string, init: RequestInit = {}) => {
    const answer = await fetch(url + path, {
      redirect: "manual",
      ...init,
      headers: { ...init.headers, ...kept },
    });
    const own = answer.headers.getSetCookie().find((each) => each.startsWith("sid="));
    if (own !== undefined) kept.cookie = own.split(";")[0]!;
    return { answer, status: answer.status, cookie: own, body: await answer.text() };
  };
  return { ask, kept };
}

describe.each([
  ["Express 5", express],
  ["Express 4", express4],
])("%s", (_, framework) => {
  it("has express-session's members, and their prototypes", async () => {
    const app = framework();
    app.use(session({ manager: newManager() }));
    app.get("/", (req, res) => {
      req.session.visits = 1;
      res.json({
        isSession: req.session instanceof expressSession.Session,
        isCookie: req.session.cookie instanceof expressSession.Cookie,
        sameId: req.session.id === req.sessionID && /^[0-9a-f]{48}$/.test(req.sessionID),
        keys: Object.keys(req.session),
        json: JSON.parse(JSON.stringify(req.session)),
        returnsItself: req.session.touch() === req.session && req.session.resetMaxAge() === req.session,
        unknown: req.session.cart === undefined && !("cart" in req.session),
      });
    });

    const { body } = await visitor(await start(app)).ask("/");

    expect(JSON.parse(body)).toEqual({
      isSession: true,
      isCookie: true,
      sameId: true,
      keys: ["cookie", "visits"],
      json: {
        cookie: {
          originalMaxAge: null,
          expires: null,
          httpOnly: true,
          path: "/",
          sameSite: "lax",
          secure: false,
        },
        visits: 1,
      },
      returnsItself: true,
      unknown: true,
    });
  });

  it("gives callbacks their session, and promises where there is no callback", async () => {
    const app = framework();
    app.use(session({ manager: newManager() }));
    app.get("/callbacks", (req, res) => {
      req.session.visits = 1;
      const before = req.session;
      const returned = before.save((saveError) => {
        before.reload((reloadError) => {
          before.regenerate((regenerateError) => {
            const after = req.session;
            after.destroy((destroyError) => {
              res.json({
                errors: [saveError, reloadError, regenerateError, destroyError].map((error) => error ?? null),
                returnedItself: returned === before,
                isAnother: after !== before,
                isGone: req.session === undefined,
              });
            });
          });
        });
      });
    });
    app.get("/promises", async (req, res) => {
      const before = req.sessionID;
      req.session.visits = 1;
      await req.session.save();
      await req.session.reload();
      const reloaded = req.session.visits;
      await req.session.regenerate();
      const emptied = req.session.visits ?? null;
      const isAnother = req.sessionID !== before;
      await req.session.destroy();
      res.json({ reloaded, emptied, isAnother, isGone: req.session === undefined });
    });
    const url = await start(app);

    expect(JSON.parse((await visitor(url).ask("/callbacks")).body)).toEqual({
      errors: [null, null, null, null],
      returnedItself: true,
      isAnother: true,
      isGone: true,
    });
    expect(JSON.parse((await visitor(url).ask("/promises")).body)).toEqual({
      reloaded: 1,
      emptied: null,
      isAnother: true,
      isGone: true,
    });
  });

  it("gives trouble to the callback, and forgives who does not look at the promise", async () => {
    const app = framework();
    app.use(session({ manager: newManager() }));
    app.get("/gone", (req, res) => {
      req.session.reload((error: NodeJS.ErrnoException | undefined) => res.send(error?.code));
    });
    app.get("/ignored", (req, res) => {
      // As applications of express-session write it; a linter would not let this one.
      void req.session.reload();
      res.send("still here");
    });
    const url = await start(app);

    expect((await visitor(url).ask("/gone")).body).toBe("MSM_ERR_SESSION_GONE");
    expect((await visitor(url).ask("/ignored")).body).toBe("still here");
  });

  it("does as passport asks: regenerate, assign, save; and keepSessionInfo", async () => {
    const passport = new Passport();
    passport.serializeUser<{ id: string }>((user, done) => done(null, user as { id: string }));
    passport.deserializeUser<{ id: string }>((user, done) => done(null, user));
    const app = framework();
    app.use(session({ manager: newManager() }));
    app.use(passport.session());
    app.get("/cart", (req, res) => {
      req.session.cart = ["book"];
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
      res.json({ user: req.user ?? null, cart: req.session.cart ?? null, id: req.sessionID });
    });
    const client = visitor(await start(app));
    const me = async () => JSON.parse((await client.ask("/me")).body) as Record<string, unknown>;

    const anonymousId = (await client.ask("/cart")).body;
    await client.ask("/login?keep=1");
    const kept = await me();
    await client.ask("/login");
    const emptied = await me();
    await client.ask("/logout");

    expect(kept).toMatchObject({ user: { id: "ann" }, cart: ["book"] });
    expect(kept.id).not.toBe(anonymousId);
    expect(emptied).toMatchObject({ user: { id: "ann" }, cart: null });
    expect(emptied.id).not.toBe(kept.id);
    expect(await me()).toMatchObject({ user: null, cart: null });
  });

  it("opens one session where it is mounted twice", async () => {
    const { manager, opened } = watchedManager();
    const app = framework();
    app.use(session({ manager }), session({ manager }));
    app.get("/", (req, res) => {
      req.session.visits = 1;
      res.send("ok");
    });

    await visitor(await start(app)).ask("/");

    expect(opened).toHaveLength(1);
  });

  it("hands on the URL as the client sent it, also from inside a mount", async () => {
    const { manager, opened } = watchedManager();
    const inner = framework();
    inner.use(session({ manager }));
    inner.get("/page", (req, res) => {
      req.session.visits = 1;
      res.send("page");
    });
    const app = framework();
    app.use("/sub", inner);

    const { cookie } = await visitor(await start(app)).ask("/sub/page?a=1");

    expect(opened).toMatchObject([
      { method: "GET", url: "/sub/page?a=1", cookieHeader: undefined, secure: false },
    ]);
    expect(cookie).toMatch(/^sid=/);
  });

  it("believes X-Forwarded-Proto as far as the application's `trust proxy` does", async () => {
    const app = framework();
    app.use(session({ manager: newManager() }));
    app.get("/", (req, res) => {
      req.session.visits = 1;
      res.json(req.session.cookie.secure);
    });
    const url = await start(app);
    const headers = { "x-forwarded-proto": "https" };

    const mistrusted = await visitor(url).ask("/", { headers });
    app.set("trust proxy", true);
    const trusted = await visitor(url).ask("/", { headers });

    expect([mistrusted.body, trusted.body]).toEqual(["false", "true"]);
    expect(mistrusted.cookie).not.toContain("Secure");
    expect(trusted.cookie).toContain("Secure");
  });

  it.each(["lock", "release", "isLocked"])(
    "keeps an attribute called %s, as express-session does",
    async (name) => {
      const app = framework();
      app.use(session({ manager: newManager() }));
      app.get("/set", (req, res) => {
        Object.assign(req.session, { [name]: "the application's" });
        res.send("ok");
      });
      app.get("/get", (req, res) => {
        res.json([Reflect.get(req.session, name), Object.keys(req.session)]);
      });
      const client = visitor(await start(app));
      await client.ask("/set");

      expect(JSON.parse((await client.ask("/get")).body)).toEqual(["the application's", ["cookie", name]]);
    },
  );

  describe("whose req.session is taken away", () => {
    it("saves nothing, sends no cookie, and leaves the stored session alone", async () => {
      const app = framework();
      app.use(session({ manager: newManager() }));
      app.get("/visit", (req, res) => {
        req.session.visits = (req.session.visits ?? 0) + 1;
        res.json(req.session.visits);
      });
      app.get("/null", (req, res) => {
        req.session.visits = 100;
        Object.assign(req, { session: null });
        res.json(req.session ?? null);
      });
      app.get("/save", async (req, res) => {
        req.session.visits = 100;
        await req.session.save();
        Object.assign(req, { session: null });
        res.json(null);
      });
      app.get("/delete", (req, res) => {
        req.session.visits = 100;
        Reflect.deleteProperty(req, "session");
        res.json(req.session ?? null);
      });
      const client = visitor(await start(app));
      await client.ask("/visit");

      for (const path of ["/null", "/delete"]) {
        expect(await client.ask(path)).toMatchObject({ body: "null", cookie: undefined });
      }

      expect((await client.ask("/visit")).body).toBe("2");
      expect((await visitor(await start(app)).ask("/save")).cookie).toBeUndefined();
    });

    it("goes on under its id with what another object holds, where one is put in its place", async () => {
      const app = framework();
      app.use(session({ manager: newManager() }));
      app.get("/fill", (req, res) => {
        Object.assign(req.session, { visits: 1, cart: ["book"] });
        res.send(req.sessionID);
      });
      app.get("/replace", (req, res) => {
        Object.assign(req, { session: { visits: 5, save: "no method", id: "mine" } });
        res.json([
          req.session.visits,
          typeof req.session.save,
          req.session instanceof expressSession.Session,
        ]);
      });
      app.get("/read", (req, res) => res.json([{ ...req.session, cookie: null }, req.session.id]));
      app.get("/number", (req) => void Object.assign(req, { session: 5 }));
      const client = visitor(await start(app));
      const id = (await client.ask("/fill")).body;

      expect(JSON.parse((await client.ask("/replace")).body)).toEqual([5, "function", true]);
      expect(JSON.parse((await client.ask("/read")).body)).toEqual([{ visits: 5, cookie: null }, id]);
      expect((await client.ask("/number")).body).toContain("req.session can be an object, null or undefined");
    });
  });

  describe("changing req.session.cookie", () => {
    it("changes the cookie's age and the idle timeout, until the session ends", async () => {
      const idle: number[] = [];
      const manager = newManager();
      const app = framework();
      app.use(
        session({
          manager: {
            ...manager,
            async open(request) {
              const exchange = await manager.open(request);
              idle.push(exchange.session?.idleTimeoutMs ?? 0);
              return exchange;
            },
          },
        }),
      );
      app.get("/login", (req, res) => {
        req.session.cookie.maxAge = 86_400_000;
        res.json(req.session.cookie);
      });
      app.get("/visit", (req, res) => {
        req.session.visits = (req.session.visits ?? 0) + 1;
        res.json({ originalMaxAge: req.session.cookie.originalMaxAge, keys: Object.keys(req.session) });
      });
      app.get("/forget", (req, res) => {
        req.session.cookie.expires = null;
        req.session.visits = 0;
        res.send("forgotten");
      });
      app.get("/read", (req, res) => res.json(req.session.visits));
      const client = visitor(await start(app));

      const login = await client.ask("/login");
      const visit = await client.ask("/visit");
      const read = await client.ask("/read");
      const forget = await client.ask("/forget");

      expect(login.cookie).toMatch(/Max-Age=86400; .*Expires=/);
      expect(JSON.parse(login.body)).toMatchObject({ originalMaxAge: 86_400_000 });
      expect(visit.cookie).toMatch(/Max-Age=86400; .*Expires=/);
      expect(JSON.parse(visit.body)).toEqual({ originalMaxAge: 86_400_000, keys: ["cookie", "visits"] });
      expect(read.cookie).toBeUndefined();
      expect(forget.cookie ?? "").not.toContain("Max-Age");
      expect(idle.slice(0, 2)).toEqual([1_800_000, 86_400_000]);
    });

    it("to more than ten years does no harm, to this request or to later ones", async () => {
      const app = framework();
      app.use(session({ manager: newManager() }));
      app.get("/visit", (req, res) => {
        req.session.visits = (req.session.visits ?? 0) + 1;
        res.json(req.session.visits);
      });
      app.get("/for-ever", (req, res) => {
        req.session.cookie.maxAge = 20 * 366 * 86_400_000;
        res.send("ok");
      });
      const client = visitor(await start(app));
      await client.ask("/visit");

      for (const [path, body] of [
        ["/for-ever", "ok"],
        ["/visit", "2"],
        ["/visit", "3"],
      ] as const) {
        expect(await client.ask(path)).toMatchObject({ status: 200, body });
      }
    });

    it("costs nothing where the same age is set again", async () => {
      const app = framework();
      app.use(
        session({ manager: newManager({ cookie: { maxAgeMs: 60_000 } }), cookie: { maxAgeMs: 60_000 } }),
      );
      app.get("/", (req, res) => {
        req.session.cookie.maxAge = 60_000;
        req.session.touch();
        res.json(Object.keys(req.session));
      });

      const { cookie } = await visitor(await start(app)).ask("/");

      expect(cookie).toBeUndefined(); // the session stayed empty
    });
  });

  it("decodes nothing for requests that never touch their session", async () => {
    const decoded: string[] = [];
    const manager = newManager({
      codec: {
        name: "counting",
        encode: (value) => Buffer.from(JSON.stringify(value)),
        decode(bytes) {
          decoded.push(Buffer.from(bytes).toString());
          return JSON.parse(decoded.at(-1)!) as unknown;
        },
      },
    });
    const app = framework();
    app.use(session({ manager }));
    app.get("/fill", (req, res) => {
      Object.assign(req.session, { visits: 1, cart: ["book"] });
      res.send("filled");
    });
    app.get("/untouched", (_req, res) => res.send("untouched"));
    app.get("/touched", (req, res) => res.json(req.session.visits));
    const client = visitor(await start(app));

    await client.ask("/fill");
    await client.ask("/untouched");
    expect(decoded).toEqual([]);
    await client.ask("/touched");
    expect(decoded).toEqual(["1"]);
  });

  describe("answering", () => {
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "msm-express-"));
      await writeFile(join(folder, "page.txt"), text);
    });
    afterAll(() => rm(folder, { recursive: true }));

    const visit: RequestHandler = (req, _res, next) => {
      req.session.visits = (req.session.visits ?? 0) + 1;
      next();
    };
    const routes = (app: Express) => {
      app.get("/file", visit, (_req, res) => res.sendFile(join(folder, "page.txt")));
      app.get("/json", visit, (_req, res) => void res.json({ text }));
      app.get(
        "/piped",
        visit,
        (_req, res) => void Readable.from(text.match(/.{1,1000}/g)!).pipe(res.type("txt")),
      );
      app.get("/read", (req, res) => void res.json(req.session.visits ?? null));
      app.use("/static", visit, framework.static(folder));
    };
    const bodies = {
      "/file": text,
      "/static/page.txt": text,
      "/piped": text,
      "/json": JSON.stringify({ text }),
    };

    const stacks: Record<string, (app: Express, manager: SessionManager) => void> = {
      "by itself": (app, manager) => app.use(session({ manager })),
      "with compression before it": (app, manager) => app.use(compression(), session({ manager })),
      "with compression after it": (app, manager) => app.use(session({ manager }), compression()),
    };
    for (const [stack, use] of Object.entries(stacks)) {
      it(`works ${stack}: sendFile, static, json and pipes, whole, ranged and cached`, async () => {
        const app = framework();
        use(app, newManager());
        routes(app);
        const url = await start(app);

        for (const [path, expected] of Object.entries(bodies)) {
          const client = visitor(url);
          const { body, cookie, answer } = await client.ask(path);
          expect(body, path).toBe(expected);
          expect(cookie, path).toMatch(/^sid=/);
          expect(answer.headers.get("content-encoding"), path).toBe(stack === "by itself" ? null : "gzip");
          expect((await client.ask("/read")).body, path).toBe("1");
        }
        const plain = { "accept-encoding": "identity" };
        const ranged = await visitor(url).ask("/file", { headers: { ...plain, range: "bytes=0-9" } });
        const etag = (await visitor(url).ask("/file")).answer.headers.get("etag")!;
        // fetch() would ask for `no-cache` by itself.
        const asked = { ...plain, "if-none-match": etag, "cache-control": "max-age=0" };
        const cached = await visitor(url).ask("/file", { headers: asked });

        expect([ranged.status, ranged.body]).toEqual([206, "0123456789"]);
        expect([cached.status, cached.body]).toEqual([304, ""]);
      });

      it(`gives the error's answer ${stack}, where the session cannot be saved`, async () => {
        const failing = { now: true };
        const app = framework();
        use(app, failingManager(failing));
        routes(app);
        app.use(((error: MsmError, _req, res, _next) => {
          res.status(error.status).send(`sorry: ${error.code}`);
        }) satisfies ErrorRequestHandler);
        const url = await start(app);

        for (const path of Object.keys(bodies)) {
          expect(await visitor(url).ask(path), path).toMatchObject({
            status: 503,
            body: "sorry: MSM_ERR_STORAGE_UNAVAILABLE",
            cookie: undefined,
          });
        }
        failing.now = false;
        expect((await visitor(url).ask("/json")).status).toBe(200);
      });
    }

    it("tells an error handler that an answer is under way", async () => {
      const seen: boolean[] = [];
      const app = framework();
      app.use(session({ manager: newManager() }));
      app.get("/", (req: Request, res) => {
        req.session.visits = 1;
        res.send("sent");
        throw new Error("too late");
      });
      app.use(((_error, _req, res, _next) => {
        seen.push(res.headersSent);
      }) satisfies ErrorRequestHandler);

      const { status, body } = await visitor(await start(app)).ask("/");

      expect([status, body, seen]).toEqual([200, "sent", [true]]);
    });
  });

  it("makes its own manager from options, and shows it", async () => {
    const middleware = session({ secret });
    closings.push(() => middleware.manager.close());
    const app = framework();
    app.use(middleware);
    app.get("/", (req, res) => {
      req.session.visits = 1;
      res.send("ok");
    });

    expect((await visitor(await start(app)).ask("/")).cookie).toMatch(/^sid=/);
    expect(middleware.manager.stats().events.created).toBe(1);
    expect(() => session({ secret: "short" })).toThrow(expect.objectContaining({ code: "MSM_ERR_OPTION" }));
  });
});
