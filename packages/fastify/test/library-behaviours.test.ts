import { EventEmitter } from "node:events";
import { inherits } from "node:util";
import fastifyCookie from "@fastify/cookie";
import library from "@fastify/session";
import msm, { fastifySession, MemoryStore, type SessionStore, Store, type StoreOptions } from "@msm/fastify";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import fastifyPlugin from "fastify-plugin";
import { afterEach, describe, expect, it } from "vitest";
import { setCookies, Visitor } from "./visitor.js";

// What @fastify/session does: run on the library itself, and on what takes its place. docs/behaviours-fastify-session.md
// lists these tests.

declare module "fastify" {
  interface Session {
    n?: number;
    user?: string;
  }
}

const secret = "only for the behaviours of the library, 32 bytes";
const oldSecret = "the secret that was used before, 32 bytes and more";

type Options = Partial<Omit<StoreOptions, "secret">> & { secret?: StoreOptions["secret"] | undefined };

/** A way to have `request.session`. */
interface Way {
  readonly name: string;
  readonly isLibrary: boolean;
  register(app: FastifyInstance, options: StoreOptions): void;
}

const ways: readonly Way[] = [
  {
    name: "@fastify/session",
    isLibrary: true,
    register: (app, options) => void app.register(fastifyCookie).register(library, options),
  },
  {
    name: "@msm/fastify with a store",
    isLibrary: false,
    register: (app, options) => void app.register(fastifyCookie).register(msm, options),
  },
  {
    name: "@msm/fastify with a store, without @fastify/cookie",
    isLibrary: false,
    register: (app, options) => void app.register(msm, options),
  },
];

const apps: FastifyInstance[] = [];
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown;

/** An application with routes by their paths; `/` answers nothing in particular. */
function serve(way: Way, options: Options = {}, handlers: Record<string, Handler> = {}) {
  const app = fastify({ trustProxy: true });
  apps.push(app);
  const store = new CountingStore();
  way.register(app, { secret, store, ...options } as StoreOptions);
  app.register((routes, _options, done) => {
    const all: Record<string, Handler> = { "/": async () => "hello", ...handlers };
    for (const [path, handler] of Object.entries(all)) {
      routes.get(path, async (request, reply) => handler(request, reply));
    }
    done();
  });
  return { app, store, visitor: new Visitor(app) };
}

/** A store that counts, and keeps JSON as one that is a server does. */
class CountingStore implements SessionStore {
  readonly calls: string[] = [];
  readonly kept = new Map<string, string>();
  /** What it calls back with from now on, by its method. */
  readonly failures: Partial<Record<"get" | "set" | "destroy", Error>> = {};

  get: SessionStore["get"] = (id, callback) => {
    this.calls.push("get");
    const kept = this.kept.get(id);
    queueMicrotask(() => callback(this.failures.get, kept === undefined ? null : JSON.parse(kept)));
  };

  set: SessionStore["set"] = (id, session, callback) => {
    this.calls.push("set");
    if (this.failures.set === undefined) this.kept.set(id, JSON.stringify(session));
    queueMicrotask(() => callback(this.failures.set));
  };

  destroy: SessionStore["destroy"] = (id, callback) => {
    this.calls.push("destroy");
    if (this.failures.destroy === undefined) this.kept.delete(id);
    queueMicrotask(() => callback(this.failures.destroy));
  };

  get sessions(): Record<string, unknown>[] {
    return [...this.kept.values()].map((kept) => JSON.parse(kept));
  }
}

const count: Handler = async ({ session }) => {
  session.n = (session.n ?? 0) + 1;
  return { n: session.n };
};
const read: Handler = async ({ session }) => ({ n: session.n ?? null, id: session.sessionId });
const sign = (id: string, by = secret) => fastifyCookie.sign(id, by);

describe.each(ways)("$name", (way) => {
  describe("the options", () => {
    it.each([
      ["the secret must have length 32 or greater", "short"],
      ["at least one secret is required", []],
      [
        "the secret option is required, and must be a String, Array of Strings, or a signer object",
        undefined,
      ],
    ])("are refused: %s", async (message, bad) => {
      const { app } = serve(way, { secret: bad });

      await expect(app.ready()).rejects.toThrow(message);
    });

    it("take a list of secrets: the first signs, all verify, and what an old one signed is signed anew", async () => {
      const { visitor, store } = serve(way, { secret: [secret, oldSecret] }, { "/read": read });
      store.kept.set("an-id", JSON.stringify({ n: 7, cookie: { path: "/" } }));
      visitor.cookies.set("sessionId", sign("an-id", oldSecret));

      const answer = await visitor.get("/read");

      expect(answer.json()).toEqual({ n: 7, id: "an-id" });
      expect(visitor.cookies.get("sessionId")).toBe(sign("an-id"));
    });

    it("take a signer of the application's own", async () => {
      const signer = {
        sign: (text: string) => `${text}.signed`,
        unsign: (text: string) => ({
          valid: text.endsWith(".signed"),
          renew: false,
          value: text.slice(0, -".signed".length),
        }),
      };
      const { visitor } = serve(way, { secret: signer as StoreOptions["secret"] }, { "/count": count });

      await visitor.get("/count");

      expect(visitor.cookies.get("sessionId")).toMatch(/\.signed$/);
      expect((await visitor.get("/count")).json()).toEqual({ n: 2 });
    });

    it("take another algorithm", async () => {
      const { visitor } = serve(way, { algorithm: "sha512" }, { "/count": count });

      await visitor.get("/count");

      expect(visitor.cookies.get("sessionId")).toMatch(/^[\w-]{32}\.[\w+/]{86}$/);
      expect((await visitor.get("/count")).json()).toEqual({ n: 2 });
    });

    it("call the cookie sessionId, or as they say, with a prefix if they say so", async () => {
      const plain = serve(way).visitor;
      const named = serve(
        way,
        { cookieName: "connect.sid", cookiePrefix: "s:" },
        { "/count": count },
      ).visitor;

      await plain.get("/");
      await named.get("/count");

      expect(plain.cookies.get("sessionId")).toMatch(/^[\w-]{32}\.[\w+/]{43}$/);
      expect(named.cookies.get("connect.sid")).toMatch(/^s:[\w-]{32}\./);
      expect((await named.get("/count")).json()).toEqual({ n: 2 });
    });

    it("make ids with the request at hand", async () => {
      const idGenerator = (request?: FastifyRequest) =>
        `${request?.session?.user === undefined ? "guest" : "member"}-${request?.id}`;
      const { visitor } = serve(
        way,
        { idGenerator },
        {
          "/read": read,
          "/sign-in": async ({ session }) => {
            session.user = "ann";
            await session.regenerate();
            return "hi";
          },
        },
      );

      const guest = (await visitor.get("/read")).json();
      await visitor.get("/sign-in");
      const member = (await visitor.get("/read")).json();

      expect([guest.id, member.id]).toEqual([
        expect.stringMatching(/^guest-/),
        expect.stringMatching(/^member-/),
      ]);
    });
  });

  describe("the cookie", () => {
    it("is neither sent nor the session stored without TLS, unless secure is false", async () => {
      const strict = serve(way, {}, { "/count": count });
      const lax = serve(way, { cookie: { secure: false } }, { "/count": count });

      const [refused, given] = [
        await strict.visitor.get("/count", { secure: false }),
        await lax.visitor.get("/count", { secure: false }),
      ];

      expect([setCookies(refused), strict.store.sessions]).toEqual([[], []]);
      expect(setCookies(given)).toEqual([expect.stringMatching(/^sessionId=[^;]+; Path=\/; HttpOnly$/)]);
    });

    it('is as the request came in with secure "auto", with sameSite "lax" without TLS', async () => {
      const { visitor } = serve(way, { cookie: { secure: "auto", sameSite: "none" } });

      const tls = setCookies(await visitor.get("/"))[0];
      visitor.cookies.clear();
      const plain = setCookies(await visitor.get("/", { secure: false }))[0];

      expect(tls).toMatch(/; HttpOnly; Secure; SameSite=None$/);
      expect(plain).toMatch(/; Path=\/; HttpOnly; SameSite=Lax$/);
    });

    it("has the attributes of the options", async () => {
      const cookie = {
        domain: "example.com",
        path: "/app",
        httpOnly: false,
        sameSite: true,
        partitioned: true,
      } as const;
      const { visitor } = serve(way, { cookie }, { "/app/count": count });

      const [header] = setCookies(await visitor.get("/app/count"));

      expect(header).toMatch(/; Domain=example\.com; Path=\/app; Secure; Partitioned; SameSite=Strict$/);
    });

    it("ends with the browser, or after maxAge, which wins over expires, or at expires", async () => {
      const ended = new Date(34214461000);
      const seen: Record<string, string | undefined> = {};
      for (const [name, cookie] of Object.entries({
        browser: {},
        maxAge: { maxAge: 60_000, expires: ended },
        expires: { expires: ended },
      })) {
        const { visitor } = serve(way, { cookie });
        seen[name] = /Expires=([^;]+)/.exec(setCookies(await visitor.get("/"))[0] ?? "")?.[1];
      }

      expect(seen.browser).toBeUndefined();
      expect(Date.parse(seen.maxAge ?? "")).toBeGreaterThan(Date.now());
      expect(Date.parse(seen.expires ?? "")).toBe(34214461000);
    });

    it("is that of its path: elsewhere there is no session, but an empty object", async () => {
      const handlers = {
        "/app": read,
        "/app/inside": read,
        "/application": async ({ session }: FastifyRequest) => session,
      };
      const { visitor, store } = serve(way, { cookie: { path: "/app" } }, handlers);

      const elsewhere = await visitor.get("/application");
      const inside = [await visitor.get("/app"), await visitor.get("/app/inside?a=/")];

      expect([elsewhere.json(), setCookies(elsewhere)]).toEqual([{}, []]);
      expect(inside.map((answer) => typeof answer.json().id)).toEqual(["string", "string"]);
      expect(store.calls.length).toBeGreaterThan(0);
    });

    it("is sent with every answer where it rolls, and otherwise where the session was changed", async () => {
      const rolling = serve(way, { cookie: { maxAge: 60_000 } }, { "/count": count }).visitor;
      const still = serve(way, { rolling: false, cookie: { maxAge: 60_000 } }, { "/count": count }).visitor;
      const sent = async (visitor: Visitor) => {
        const answers = [await visitor.get("/count"), await visitor.get("/"), await visitor.get("/count")];
        return answers.map((answer) => setCookies(answer).length);
      };

      expect([await sent(rolling), await sent(still)]).toEqual([
        [1, 1, 1],
        [1, 0, 1],
      ]);
    });

    it("is taken back where it is worth nothing and the new session is not stored", async () => {
      const { visitor } = serve(way, { saveUninitialized: false });
      visitor.cookies.set("sessionId", sign("an-id-that-is-gone"));
      visitor.cookies.set("other", "1");

      const first = setCookies(await visitor.get("/"));
      const second = setCookies(await visitor.get("/"));

      expect(first).toEqual([expect.stringMatching(/^sessionId=;.*Expires=Thu, 01 Jan 1970/)]);
      expect(second).toEqual([]);
    });

    it("is as session.options() says, for this session", async () => {
      const { visitor } = serve(
        way,
        { cookie: { secure: true } },
        {
          "/loose": async ({ session }) => {
            session.options({ secure: false, maxAge: 60_000, sameSite: "strict" });
            session.n = 1;
            return session.cookie.maxAge;
          },
        },
      );

      const answer = await visitor.get("/loose", { secure: false });

      expect(Number(answer.body)).toBeGreaterThan(59_000);
      expect(setCookies(answer)[0]).toMatch(/; Expires=[^;]+; HttpOnly; SameSite=Strict$/);
    });
  });

  describe("a session", () => {
    it("is stored and announced though empty, unless saveUninitialized is false", async () => {
      const eager = serve(way);
      const lazy = serve(way, { saveUninitialized: false }, { "/count": count });

      await eager.visitor.get("/");
      const empty = setCookies(await lazy.visitor.get("/"));
      const filled = setCookies(await lazy.visitor.get("/count"));

      expect(eager.store.sessions).toHaveLength(1);
      expect([empty.length, filled.length, lazy.store.sessions.length]).toEqual([0, 1, 1]);
    });

    it("is found by the next request", async () => {
      const { visitor } = serve(way, {}, { "/count": count });

      const counts = [await visitor.get("/count"), await visitor.get("/count"), await visitor.get("/count")];

      expect(counts.map((answer) => answer.json().n)).toEqual([1, 2, 3]);
    });

    it("whose cookie nobody signed is none, and costs no look into the store", async () => {
      const { visitor, store } = serve(way, {}, { "/read": read });
      store.kept.set("an-id", JSON.stringify({ n: 7, cookie: {} }));
      visitor.cookies.set("sessionId", "an-id.forged");

      const { n, id } = (await visitor.get("/read")).json();

      expect(n).toBeNull();
      expect(id).not.toBe("an-id");
      expect(store.calls).not.toContain("get");
    });

    it("that the store does not have begins anew under another id, also where a file store says ENOENT", async () => {
      const { visitor, store } = serve(way, {}, { "/read": read });
      visitor.cookies.set("sessionId", sign("an-id"));
      const unknown = (await visitor.get("/read")).json();
      store.failures.get = Object.assign(new Error("no such file"), { code: "ENOENT" });
      visitor.cookies.set("sessionId", sign("an-id"));
      const absent = await visitor.get("/read");

      expect(unknown.id).not.toBe("an-id");
      expect([absent.statusCode, absent.json().n]).toEqual([200, null]);
    });

    it("that the store fails to read fails its request with 500, as it says", async () => {
      const { visitor, store } = serve(way);
      store.failures.get = new Error("no store today");
      visitor.cookies.set("sessionId", sign("an-id"));

      const answer = await visitor.get("/");

      expect([answer.statusCode, answer.json().message]).toEqual([500, "no store today"]);
    });

    it("that the store fails to save fails its request with 500, as it says", async () => {
      const { visitor, store } = serve(way, {}, { "/count": count });
      store.failures.set = new Error("no room today");

      const answer = await visitor.get("/count");

      expect([answer.statusCode, answer.json().message]).toEqual([500, "no room today"]);
    });

    it("that has expired is destroyed, and another begins, unless that fails", async () => {
      const expired = JSON.stringify({ n: 7, cookie: { path: "/", expires: new Date(Date.now() - 1000) } });
      const { visitor, store } = serve(way, { cookie: { maxAge: 60_000 } }, { "/read": read });
      store.kept.set("an-id", expired);
      visitor.cookies.set("sessionId", sign("an-id"));
      const { n, id } = (await visitor.get("/read")).json();
      const isGone = !store.kept.has("an-id");
      store.kept.set("an-id", expired);
      visitor.cookies.set("sessionId", sign("an-id"));
      store.failures.destroy = new Error("no end today");
      const failed = await visitor.get("/read");

      expect([n, id === "an-id", isGone]).toEqual([null, false, true]);
      expect([failed.statusCode, failed.json().message]).toEqual([500, "no end today"]);
    });

    it("has its attributes as properties and by get() and set(), and its ids where nobody enumerates them", async () => {
      const { visitor, store } = serve(
        way,
        {},
        {
          "/": async ({ session }) => {
            session.set("n", 1);
            session.user = "ann";
            return [
              session.n,
              session.get("user"),
              session.get("other" as "user"),
              Object.keys(session).sort(),
            ];
          },
        },
      );

      const answer = await visitor.get("/");

      expect(answer.json()).toEqual([1, "ann", null, ["cookie", "n", "user"]]);
      expect(store.sessions[0]).toMatchObject({ n: 1, user: "ann" });
      expect(Object.keys(store.sessions[0]!).sort()).toEqual(["cookie", "n", "user"]);
    });

    it("shows its ids: the one, and the one with its signature", async () => {
      const { visitor } = serve(
        way,
        {},
        {
          "/": async ({ session }) => [session.sessionId, session.encryptedSessionId],
        },
      );

      const [id, signed] = (await visitor.get("/")).json();

      expect(signed).toBe(sign(id));
      expect(visitor.cookies.get("sessionId")).toBe(sign(id));
    });

    it("has a cookie that counts down, which the store remembers", async () => {
      const { visitor, store } = serve(
        way,
        { cookie: { maxAge: 60_000, domain: "example.com" } },
        {
          "/": async ({ session }) => session.cookie,
        },
      );

      const shown = (await visitor.get("/")).json();

      expect(shown).toMatchObject({
        originalMaxAge: 60_000,
        sameSite: null,
        secure: true,
        path: "/",
        httpOnly: true,
        domain: "example.com",
      });
      expect(Date.parse(shown.expires)).toBeGreaterThan(Date.now());
      expect(Object.keys(store.sessions[0]!.cookie as object)).toEqual(Object.keys(shown));
    });

    it("knows whether it was changed, and whether it was saved", async () => {
      const { visitor } = serve(
        way,
        { saveUninitialized: false },
        {
          "/": async ({ session }) => {
            const seen = [session.isModified(), session.isSaved()];
            session.n = 1;
            seen.push(session.isModified(), session.isSaved());
            await session.save();
            return [...seen, session.isModified(), session.isSaved()];
          },
        },
      );

      expect((await visitor.get("/")).json()).toEqual([false, false, true, false, false, true]);
    });

    it("is saved once where nothing changed since save()", async () => {
      const { visitor, store } = serve(
        way,
        { rolling: false },
        {
          "/save": async ({ session }) => {
            session.n = 1;
            await session.save();
            return "saved";
          },
        },
      );
      await visitor.get("/save");
      store.calls.length = 0;

      await visitor.get("/save");

      expect(store.calls).toEqual(["get", "set"]);
    });

    it("is as the store has it after reload()", async () => {
      const { visitor } = serve(
        way,
        {},
        {
          "/count": count,
          "/reload": async (request) => {
            request.session.n = 99;
            const before = request.session;
            await request.session.reload();
            return [request.session.n, request.session === before];
          },
        },
      );
      await visitor.get("/count");

      expect((await visitor.get("/reload")).json()).toEqual([1, false]);
    });

    it("starts its cookie's time anew by touch()", async () => {
      const { visitor, store } = serve(
        way,
        { rolling: false, cookie: { maxAge: 60_000 } },
        {
          "/touch": async ({ session }) => {
            session.cookie.expires = new Date(0);
            session.touch();
            return session.cookie.maxAge;
          },
        },
      );

      expect(Number((await visitor.get("/touch")).body)).toBeGreaterThan(59_000);
      expect(store.sessions).toHaveLength(1);
    });

    it("has another id and no attributes after regenerate(), or those that are named, and the old one is destroyed", async () => {
      const { visitor, store } = serve(
        way,
        {},
        {
          "/fill": async ({ session }) => {
            Object.assign(session, { n: 1, user: "ann" });
            return session.sessionId;
          },
          "/keep": async (request) => {
            await request.session.regenerate(["user"]);
            return [request.session.n ?? null, request.session.user, request.session.sessionId];
          },
          "/empty": (request, reply) => {
            request.session.regenerate((error) => {
              void reply.send([error ?? null, request.session.user ?? null, request.session.sessionId]);
            });
            return reply;
          },
        },
      );
      const { body: first } = await visitor.get("/fill");

      const [n, user, second] = (await visitor.get("/keep")).json();
      const [error, nobody, third] = (await visitor.get("/empty")).json();

      expect([n, user, error, nobody]).toEqual([null, "ann", null, null]);
      expect(new Set([first, second, third]).size).toBe(3);
      expect([...store.kept.keys()]).toEqual([third]);
      expect(visitor.cookies.get("sessionId")).toBe(sign(third));
    });

    it("is null from destroy() on, and gone from the store", async () => {
      const { visitor, store } = serve(
        way,
        {},
        {
          "/count": count,
          "/promise": async (request) => {
            await request.session.destroy();
            return { session: request.session };
          },
          "/callback": (request, reply) => {
            request.session.destroy((error) => void reply.send({ error, session: request.session }));
            return reply;
          },
        },
      );

      await visitor.get("/count");
      expect((await visitor.get("/promise")).json()).toEqual({ session: null });
      await visitor.get("/count");
      expect((await visitor.get("/callback")).json()).toEqual({ session: null });
      expect(store.sessions).toEqual([]);
    });

    it.each(["save", "reload", "destroy", "regenerate"] as const)(
      "tells the trouble that the store has with %s(), by a callback or a promise",
      async (method) => {
        const { visitor, store } = serve(
          way,
          { rolling: false, saveUninitialized: false },
          {
            "/promise": async ({ session }) => {
              failAll();
              return session[method]().then(
                () => "fine",
                (error: Error) => error.message,
              );
            },
            "/callback": ({ session }, reply) => {
              failAll();
              session[method]((error?: Error) => void reply.send(error?.message ?? "fine"));
              return reply;
            },
          },
        );
        const trouble = new Error("no store today");
        const failAll = () => Object.assign(store.failures, { get: trouble, set: trouble, destroy: trouble });

        expect((await visitor.get("/promise")).body).toBe("no store today");
        expect((await visitor.get("/callback")).body).toBe("no store today");
      },
    );

    it("is not the request's any more where the application puts null in its place", async () => {
      const { visitor, store } = serve(
        way,
        {},
        {
          "/count": count,
          "/leave": async (request) => {
            request.session.n = 99;
            (request as { session: unknown }).session = null;
            return "left";
          },
        },
      );
      await visitor.get("/count");

      const answer = await visitor.get("/leave");

      expect(setCookies(answer)).toEqual([]);
      expect(store.sessions).toMatchObject([{ n: 1 }]);
    });
  });

  describe("the application", () => {
    it("has the store as request.sessionStore", async () => {
      const { visitor, store } = serve(
        way,
        {},
        {
          "/": async ({ sessionStore }) => ({ isSame: (sessionStore as unknown) === store }),
        },
      );

      expect((await visitor.get("/")).json()).toEqual({ isSame: true });
    });

    it("decrypts a session where there is no request of Fastify's, with cookie options if it likes", async () => {
      const { app, store } = serve(way);
      await app.ready();
      store.kept.set("an-id", JSON.stringify({ n: 7, cookie: {} }));
      const signed = fastifyCookie.sign("an-id", secret);
      type Target = { session?: FastifyRequest["session"] };
      const decrypted = (value: string, cookie?: { maxAge: number }) =>
        new Promise<Target["session"]>((resolve, reject) => {
          const target: Target = {};
          const done = (error?: unknown) => (error ? reject(error) : resolve(target.session));
          if (cookie === undefined) app.decryptSession<Target>(value, target, done);
          else app.decryptSession<Target>(value, target, cookie, done);
        });

      const found = await decrypted(signed);
      const aged = await decrypted(signed, { maxAge: 86_400 });
      const forged = await decrypted("an-id.forged");

      expect([found?.sessionId, found?.n, found?.cookie.maxAge]).toEqual(["an-id", 7, null]);
      expect(aged?.cookie.originalMaxAge).toBe(86_400);
      expect(forged?.n).toBeUndefined();
      expect(forged?.sessionId).not.toBe("an-id");
    });

    it("may have plugins that depend on @fastify/session", async () => {
      const { app } = serve(way);
      app.register(fastifyPlugin(async () => {}, { name: "another", dependencies: ["@fastify/session"] }));

      await expect(app.ready()).resolves.toBeDefined();
    });

    it("may have sessions of two kinds in contexts beside each other", async () => {
      const app = fastify({ trustProxy: true });
      apps.push(app);
      for (const cookieName of ["shop", "admin"]) {
        app.register((context, _options, done) => {
          way.register(context, {
            secret,
            store: new MemoryStore(),
            cookieName,
            cookie: { path: `/${cookieName}` },
          });
          context.get(`/${cookieName}`, async (request, reply) => count(request, reply));
          done();
        });
      }
      const visitor = new Visitor(app);

      for (const path of ["/shop", "/shop", "/admin"]) await visitor.get(path);

      expect((await visitor.get("/shop")).json()).toEqual({ n: 3 });
      expect((await visitor.get("/admin")).json()).toEqual({ n: 2 });
      expect([...visitor.cookies.keys()]).toEqual(["shop", "admin"]);
    });
  });
});

describe("the exports", () => {
  it("are those of @fastify/session", () => {
    expect(msm).toBe(fastifySession);
    expect(Store).toBe(MemoryStore);
    expect(MemoryStore).toBe(library.MemoryStore);
    expect(Object.keys(library).sort()).toEqual(
      expect.arrayContaining(["MemoryStore", "Store", "default", "fastifySession"]),
    );
  });

  it("have a store to inherit from, as a class or a function, which emits events", () => {
    function OldStore(this: EventEmitter) {
      (Store as unknown as (this: unknown) => void).call(this);
    }
    inherits(OldStore, Store);
    class NewStore extends Store {}

    for (const store of [new NewStore(), Reflect.construct(OldStore, []) as InstanceType<typeof Store>]) {
      expect(store).toBeInstanceOf(EventEmitter);
      expect(typeof store.get).toBe("function");
    }
  });
});
