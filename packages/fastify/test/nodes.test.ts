import { once } from "node:events";
import http2 from "node:http2";
import fastifyCookie from "@fastify/cookie";
import library from "@fastify/session";
import { type Codec, createSessionManager, jsonCodec, type SessionManagerOptions } from "@msm/core";
import session, { type FastifySessionOptions, MemoryStore, type NodesOptions } from "@msm/fastify";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { afterEach, describe, expect, it } from "vitest";
import { setCookies, Visitor } from "./visitor.js";

const secret = "only for the tests of nodes, 32 bytes and more";

const apps: FastifyInstance[] = [];
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown;
type Options = Partial<NodesOptions>;

function serve(options: Options = {}, handlers: Record<string, Handler> = {}) {
  return serveWith({ secret, ...options } as FastifySessionOptions, handlers);
}

function serveWith(options: FastifySessionOptions, handlers: Record<string, Handler> = {}) {
  const app = fastify({ trustProxy: true, forceCloseConnections: true });
  apps.push(app);
  app.register(session, options);
  addRoutes(app, handlers);
  return { app, visitor: new Visitor(app) };
}

function addRoutes(app: FastifyInstance, handlers: Record<string, Handler>): void {
  app.register((routes, _options, done) => {
    const all: Record<string, Handler> = {
      "/": async () => "hello",
      "/count": count,
      "/read": read,
      ...handlers,
    };
    for (const [path, handler] of Object.entries(all)) {
      routes.get(path, async (request, reply) => handler(request, reply));
    }
    done();
  });
}

const count: Handler = async ({ session }) => {
  session.n = (session.n ?? 0) + 1;
  return { n: session.n };
};
const read: Handler = async ({ session }) => ({ n: session.n ?? null, user: session.user ?? null });
const maxAge = (header: string | undefined) => Number(/Max-Age=(\d+)/.exec(header ?? "")?.[1]);

describe("the options of @fastify/session", () => {
  it("name the cookie, and its attributes", async () => {
    const { visitor } = serve({
      cookieName: "shop",
      cookie: { maxAge: 60_000, sameSite: true, httpOnly: false, domain: "example.com" },
    });

    const [header] = setCookies(await visitor.get("/count"));

    expect(header).toMatch(
      /^shop=[^;]+; Max-Age=60; Domain=example.com; Path=\/; Expires=[^;]+; Secure; SameSite=Strict$/,
    );
  });

  it("have msm's defaults where they say nothing: an empty session is neither stored nor announced", async () => {
    const lazy = serve().visitor;
    const eager = serve({ saveUninitialized: true }).visitor;

    expect(setCookies(await lazy.get("/"))).toEqual([]);
    expect(setCookies(await eager.get("/"))).toEqual([
      expect.stringMatching(/^sessionId=[^;]+; Path=\/; HttpOnly; Secure; SameSite=Lax$/),
    ]);
    expect(setCookies(await eager.get("/"))).toEqual([]);
    expect((await eager.get("/count")).json()).toEqual({ n: 1 });
  });

  it("make the cookie secure as the request is, or only send it there", async () => {
    const [auto, strict] = [serve().visitor, serve({ cookie: { secure: true } }).visitor];

    const plain = setCookies(await auto.get("/count", { secure: false }))[0];
    const refused = await strict.get("/count", { secure: false });
    const given = await strict.get("/count");

    expect(plain).toMatch(/; Path=\/; HttpOnly; SameSite=Lax$/);
    expect([refused.json(), setCookies(refused)]).toEqual([{ n: 1 }, []]);
    expect(setCookies(given)[0]).toMatch(/; Secure/);
  });

  it("send a secure cookie only where there is TLS, and save a session that is known all the same", async () => {
    const { visitor } = serve({ cookie: { secure: true, maxAge: 60_000 }, renewAfterMs: 0 });
    await visitor.get("/count");

    const plain = await visitor.get("/count", { secure: false });
    const tls = await visitor.get("/count");

    expect([plain.json(), setCookies(plain)]).toEqual([{ n: 2 }, []]);
    expect([tls.json(), setCookies(tls).length]).toEqual([{ n: 3 }, 1]);
  });

  it("keep the session to the cookie's path", async () => {
    const { visitor } = serve(
      { cookie: { path: "/app" } },
      {
        "/application": async ({ session }) => session,
        "/app/count": count,
      },
    );

    expect((await visitor.get("/application")).json()).toEqual({});
    expect((await visitor.get("/app/count")).json()).toEqual({ n: 1 });
  });

  it("make ids, with the request at hand", async () => {
    const idGenerator = (request?: FastifyRequest) => `${request?.session.user ?? "guest"}-${request?.id}`;
    const { visitor } = serve(
      { idGenerator },
      {
        "/sign-in": async (request) => {
          request.session.user = "ann";
          await request.session.regenerate(["user"]);
          return request.session.sessionId;
        },
        "/id": async ({ session }) => session.sessionId,
      },
    );
    await visitor.get("/count");

    expect((await visitor.get("/sign-in")).body).toMatch(/^ann-/);
    expect((await visitor.get("/id")).body).toMatch(/^ann-/);
  });

  it("take @fastify/session's cookie instead of msm's, where they speak of it", async () => {
    const { visitor } = serve({ cookieName: "connect.sid", cookiePrefix: "s:", algorithm: "sha512" });

    await visitor.get("/count");

    expect(visitor.cookies.get("connect.sid")).toMatch(/^s:[0-9a-f]{48}\.[\w+/]{86}$/);
    expect((await visitor.get("/count")).json()).toEqual({ n: 2 });
  });

  it("renew a cookie that lasts once it has some age, and no other", async () => {
    const counts = [];
    for (const options of [
      { cookie: { maxAge: 60_000 }, renewAfterMs: 0 },
      { cookie: { maxAge: 60_000 } },
      { cookie: { maxAge: 60_000 }, renewAfterMs: 0, rolling: false },
      { renewAfterMs: 0 },
    ]) {
      const { visitor } = serve(options);
      const answers = [await visitor.get("/count"), await visitor.get("/read"), await visitor.get("/read")];
      counts.push(answers.map((answer) => setCookies(answer).length));
    }

    expect(counts).toEqual([
      [1, 1, 1],
      [1, 0, 0],
      [1, 0, 0],
      [1, 0, 0],
    ]);
  });

  it("let sessions last for ever, as far as that goes", async () => {
    const { visitor } = serve({ cookie: { maxAge: 100 * 366 * 86_400_000 } });

    expect(maxAge(setCookies(await visitor.get("/count"))[0])).toBeGreaterThan(9 * 365 * 86_400);
  });

  it("end all cookies at one time, where they give expires", async () => {
    const expires = new Date(Date.now() + 3_600_000);
    const { visitor } = serve({ cookie: { expires } });

    expect(setCookies(await visitor.get("/count"))[0]).toContain(`; Expires=${expires.toUTCString()};`);
  });

  it("are refused with what the option is and what would do", async () => {
    await expect(serve({ secret: "short" }).app.ready()).rejects.toMatchObject({ code: "MSM_ERR_OPTION" });
    const manager = createSessionManager({ secret });
    const twice = { manager, cookieName: "sid" } as unknown as FastifySessionOptions;
    await expect(serveWith(twice).app.ready()).rejects.toThrow("cookieName are the manager's");
    const both = { secret, nodes: "cache1:11211", store: new MemoryStore() } as unknown as Options;
    await expect(serve(both).app.ready()).rejects.toThrow("give one of store, nodes");
  });
});

describe("request.session", () => {
  it("has its attributes as properties and by get() and set(), and its ids where nobody enumerates them", async () => {
    const { visitor } = serve(
      {},
      {
        "/": async ({ session }) => {
          session.set("n", 1);
          session.user = "ann";
          const json = JSON.parse(JSON.stringify(session));
          return [
            session.n,
            session.get("user"),
            Object.keys(session).sort(),
            Object.keys(json).sort(),
            json.cookie.path,
          ];
        },
      },
    );

    expect((await visitor.get("/")).json()).toEqual([
      1,
      "ann",
      ["cookie", "n", "user"],
      ["cookie", "n", "user"],
      "/",
    ]);
  });

  it("knows whether it was changed, and whether it was saved, and is stored by save() though empty", async () => {
    const { visitor } = serve(
      {},
      {
        "/": async ({ session }) => {
          const seen = [session.isModified(), session.isSaved()];
          session.n = 1;
          seen.push(session.isModified(), session.isSaved());
          await session.save();
          return [...seen, session.isModified(), session.isSaved()];
        },
        "/empty": async ({ session }) => {
          await session.save();
          return "saved";
        },
      },
    );

    expect((await visitor.get("/")).json()).toEqual([false, false, true, false, false, true]);
    visitor.cookies.clear();
    expect(setCookies(await visitor.get("/empty"))).toHaveLength(1);
  });

  it("is as stored after reload(), and empty where it never was", async () => {
    const { visitor } = serve(
      {},
      {
        "/reload": async (request) => {
          const before = request.session;
          request.session.n = 99;
          await request.session.reload();
          return [request.session.n ?? null, request.session === before];
        },
      },
    );

    const fresh = (await visitor.get("/reload")).json();
    await visitor.get("/count");

    expect([fresh, (await visitor.get("/reload")).json()]).toEqual([
      [null, false],
      [1, false],
    ]);
  });

  it("gets another id by regenerate(), in all its forms, and the old object keeps what it had", async () => {
    const { visitor } = serve(
      {},
      {
        "/fill": async ({ session }) => {
          Object.assign(session, { n: 1, user: "ann" });
          return session.sessionId;
        },
        "/names": async (request) => {
          await request.session.regenerate(["user"]);
          return [request.session.n ?? null, request.session.user];
        },
        "/all": async (request) => {
          const before = request.session;
          await request.session.regenerate({ keep: true });
          return [before.user, request.session.user, before.sessionId === request.session.sessionId];
        },
        "/none": (request, reply) => {
          const before = request.session;
          request.session.regenerate((error) => {
            void reply.send([error ?? null, request.session.user ?? null, before.user]);
          });
          return reply;
        },
      },
    );
    await visitor.get("/fill");
    const old = visitor.cookies.get("sessionId") ?? "";

    expect((await visitor.get("/names")).json()).toEqual([null, "ann"]);
    expect((await visitor.get("/all")).json()).toEqual(["ann", "ann", false]);
    expect((await visitor.get("/none")).json()).toEqual([null, null, "ann"]);
    visitor.cookies.set("sessionId", old);
    expect((await visitor.get("/read")).json()).toEqual({ n: null, user: null });
  });

  it("is null from destroy() on, and takes its cookie along", async () => {
    const { visitor } = serve(
      {},
      {
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

    for (const path of ["/promise", "/callback"]) {
      await visitor.get("/count");
      const answer = await visitor.get(path);

      expect(answer.json()).toEqual({ session: null });
      expect(setCookies(answer)).toEqual([expect.stringMatching(/^sessionId=; Max-Age=0/)]);
    }
  });

  it("begins anew by regenerate() after destroy()", async () => {
    const { visitor } = serve(
      {},
      {
        "/anew": async (request) => {
          const { session } = request;
          await session.destroy();
          await session.regenerate();
          request.session.n = 10;
          return "new";
        },
      },
    );
    await visitor.get("/count");

    await visitor.get("/anew");

    expect((await visitor.get("/count")).json()).toEqual({ n: 11 });
  });

  it("is not the request's any more where the application puts null in its place", async () => {
    const { visitor } = serve(
      {},
      {
        "/leave": async (request) => {
          request.session.n = 99;
          (request as { session: unknown }).session = null;
          return "left";
        },
      },
    );
    await visitor.get("/count");

    expect(setCookies(await visitor.get("/leave"))).toEqual([]);
    expect((await visitor.get("/read")).json().n).toBe(1);
  });

  it("is not the request's any more where something else is put in its place before anybody looked at it", async () => {
    const { visitor } = serve(
      { saveUninitialized: true },
      {
        "/leave": async (request) => {
          (request as { session: unknown }).session = undefined;
          return `${request.session}`;
        },
      },
    );

    const left = await visitor.get("/leave");

    expect(left.body).toBe("undefined");
    expect(setCookies(left)).toEqual([]);
  });

  it("is the request's again where the application puts it back", async () => {
    const { visitor } = serve(
      {},
      {
        "/back": async (request) => {
          const { session } = request;
          (request as { session: unknown }).session = null;
          (request as { session: unknown }).session = session;
          session.n = 7;
          return String(request.session === session);
        },
      },
    );

    expect((await visitor.get("/back")).body).toBe("true");
    expect((await visitor.get("/read")).json().n).toBe(7);
  });

  it("gives its cookie an age, which becomes the session's idle timeout and outlives the request and the id", async () => {
    const { visitor } = serve(
      {},
      {
        "/remember": async ({ session }) => {
          session.n = 1;
          session.cookie.maxAge = 60_000;
          return "for a minute";
        },
        "/shown": async ({ session }) => session.cookie.originalMaxAge,
        "/renew": async (request) => {
          await request.session.regenerate(["n"]);
          return "renewed";
        },
      },
    );

    expect(maxAge(setCookies(await visitor.get("/remember"))[0])).toBe(60);
    expect((await visitor.get("/shown")).body).toBe("60000");
    expect(maxAge(setCookies(await visitor.get("/renew"))[0])).toBe(60);
    expect((await visitor.get("/shown")).body).toBe("60000");
  });

  it("has its cookie changed by options() and by its properties", async () => {
    const { visitor } = serve(
      { cookie: { maxAge: 30_000 } },
      {
        "/options": async ({ session }) => {
          session.options({ path: "/options", sameSite: "strict", maxAge: 90_000 });
          session.n = 1;
          return "changed";
        },
        "/domain": async ({ session }) => {
          session.cookie.domain = "example.com";
          return "changed";
        },
      },
    );

    const [first] = setCookies(await visitor.get("/options"));
    const [second] = setCookies(await visitor.get("/domain"));

    expect(first).toMatch(
      /^sessionId=[^;]+; Path=\/options; HttpOnly; Secure; SameSite=Strict; Max-Age=90; Expires=/,
    );
    expect(second).toMatch(/; Domain=example.com; Path=\/; /);
    expect((await visitor.get("/read")).json().n).toBe(1);
  });

  it("has locks, which yield to attributes of their names", async () => {
    const { visitor } = serve(
      {},
      {
        "/locked": async ({ session }) => {
          await session.lock();
          const seen = [session.isLocked];
          await session.release();
          return [...seen, session.isLocked];
        },
        "/named": async ({ session }) => {
          Object.assign(session, { lock: "mine" });
          return { lock: session.lock };
        },
      },
    );
    await visitor.get("/count");

    expect((await visitor.get("/locked")).json()).toEqual([true, false]);
    expect((await visitor.get("/named")).json()).toEqual({ lock: "mine" });
  });
});

describe("the application", () => {
  it("decrypts sessions where there is no request of Fastify's, and saves them by hand", async () => {
    const { app, visitor } = serve({}, { "/signed": async ({ session }) => session.encryptedSessionId });
    await visitor.get("/count");
    const { body: signed } = await visitor.get("/signed");
    type Target = { session?: FastifyRequest["session"] };
    const decrypted = (value: string) =>
      new Promise<Target["session"]>((resolve, reject) => {
        const target: Target = {};
        app.decryptSession<Target>(value, target, (error) =>
          error ? reject(error) : resolve(target.session),
        );
      });

    const found = await decrypted(signed);
    found!.n = 41;
    await found?.save();
    const forged = await decrypted("forged");

    expect(signed).toBe(visitor.cookies.get("sessionId"));
    expect(forged?.n).toBeUndefined();
    expect((await visitor.get("/count")).json()).toEqual({ n: 42 });
  });

  it("has a store for any session by its id", async () => {
    const { visitor } = serve(
      {},
      {
        "/id": async ({ session }) => session.sessionId,
        "/store": async ({ sessionStore, query }) => {
          const { id, verb } = query as { id: string; verb: "get" | "destroy" | "set" };
          return new Promise((resolve, reject) => {
            const done = (error?: unknown, found?: unknown) => (error ? reject(error) : resolve({ found }));
            if (verb === "set") sessionStore.set(id, { n: 41, cookie: { originalMaxAge: null } }, done);
            else sessionStore[verb](id, done);
          });
        },
      },
    );
    await visitor.get("/count");
    const { body: id } = await visitor.get("/id");
    const ask = async (verb: string, of = id) =>
      (await visitor.get(`/store?id=${of}&verb=${verb}`)).json().found;

    expect(await ask("get")).toMatchObject({ n: 1, cookie: { path: "/", originalMaxAge: null } });
    await ask("set");
    expect((await visitor.get("/count")).json()).toEqual({ n: 42 });
    await ask("destroy");
    expect((await visitor.get("/read")).json().n).toBeNull();
    expect(await ask("get")).toBeNull();
    await ask("set", "a-new-one");
    expect(await ask("get", "a-new-one")).toMatchObject({ n: 41 });
    await ask("destroy", "unknown");
  });

  it("shares a manager, whose cookie is what its own options say, with other applications", async () => {
    const cookie = { name: "shared", maxAgeMs: 60_000, domain: "example.com" };
    const manager = createSessionManager({ secret, cookie });
    const show: Handler = async ({ session }) => session.cookie;
    const [one, other] = [serveWith({ manager }, { "/show": show }), serveWith({ manager })];
    await one.visitor.get("/count");
    other.visitor.cookies.set("shared", one.visitor.cookies.get("shared") ?? "");

    expect((await other.visitor.get("/count")).json()).toEqual({ n: 2 });
    expect((await one.visitor.get("/show")).json()).toMatchObject({
      originalMaxAge: 60_000,
      domain: "example.com",
      sameSite: "lax",
      secure: true,
    });
    expect(other.app.sessionManager).toBe(manager);
    await one.app.close();
    expect((await other.visitor.get("/count")).json()).toEqual({ n: 3 });
    await manager.close();
  });

  it("closes its own manager with itself", async () => {
    const { app, visitor } = serve();
    await visitor.get("/count");

    await app.close();

    const request = { method: "GET", url: "/", cookieHeader: undefined, secure: false };
    await expect(app.sessionManager.open(request)).rejects.toMatchObject({ code: "MSM_ERR_CLOSED" });
  });

  it("may have sessions of two kinds in contexts beside each other, and none around them", async () => {
    const app = fastify({ trustProxy: true });
    apps.push(app);
    for (const name of ["shop", "admin"]) {
      app.register((context, _options, done) => {
        context.register(session, { secret, cookieName: name });
        context.get(`/${name}`, async (request, reply) => count(request, reply));
        done();
      });
    }
    app.get("/outside", async (request) => ({ session: request.session ?? null }));
    const visitor = new Visitor(app);
    for (const path of ["/shop", "/shop", "/admin", "/outside"]) await visitor.get(path);

    expect((await visitor.get("/shop")).json()).toEqual({ n: 3 });
    expect((await visitor.get("/admin")).json()).toEqual({ n: 2 });
    expect((await visitor.get("/outside")).json()).toEqual({ session: null });
  });

  it("may have @fastify/cookie before the sessions, behind them, or not at all", async () => {
    const seen = [];
    for (const order of [
      [fastifyCookie, session],
      [session, fastifyCookie],
    ]) {
      const app = fastify({ trustProxy: true });
      apps.push(app);
      for (const plugin of order) app.register(plugin as typeof session, { secret });
      addRoutes(app, {
        "/own": async ({ session, cookies }, reply) => {
          session.n = 1;
          reply.setCookie("mine", "1");
          return Object.keys(cookies);
        },
      });
      const visitor = new Visitor(app);
      const first = await visitor.get("/own");
      const second = await visitor.get("/own");
      seen.push([
        setCookies(first)
          .map((header) => header.split("=")[0])
          .sort(),
        second.json().sort(),
      ]);
    }

    expect(seen).toEqual([
      [
        ["mine", "sessionId"],
        ["mine", "sessionId"],
      ],
      [
        ["mine", "sessionId"],
        ["mine", "sessionId"],
      ],
    ]);
  });

  it("answers what does not exist with the session too", async () => {
    const { app, visitor } = serve();
    app.setNotFoundHandler(async ({ session }, reply) => {
      session.n = (session.n ?? 0) + 1;
      return reply.code(404).send({ n: session.n });
    });

    await visitor.get("/nowhere");
    const answer = await visitor.get("/nowhere");

    expect([answer.statusCode, answer.json()]).toEqual([404, { n: 2 }]);
  });

  it("tells others to come back, where a session's line is full or its storage away, by its error handler", async () => {
    const { app, visitor } = serve({ nodes: "127.0.0.1:1", operationTimeoutMs: 50 });
    app.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) =>
      reply.code(error.statusCode ?? 500).send({ sorry: true }),
    );

    const answer = await visitor.get("/count");

    expect([answer.statusCode, answer.json(), setCookies(answer)]).toEqual([503, { sorry: true }, []]);
  });
});

describe("clients that @fastify/session had", () => {
  async function formerly() {
    const store = new MemoryStore();
    const app = fastify({ trustProxy: true });
    apps.push(app);
    app.register(fastifyCookie);
    app.register(library, { secret, store, cookie: { maxAge: 60_000 } });
    addRoutes(app, {});
    const visitor = new Visitor(app);
    await visitor.get("/count");
    return { store, visitor };
  }

  it.each([
    ["under the same name", {}],
    ["under another name", { cookieName: "sid" }],
  ])(
    "go on with their sessions, with a cookie %s, which then end in the former store",
    async (_, options) => {
      const { store, visitor: former } = await formerly();
      const { visitor } = serve({ ...options, previous: { store, secret } });
      for (const [name, value] of former.cookies) visitor.cookies.set(name, value);

      const first = await visitor.get("/count");
      const second = await visitor.get("/count");

      expect([first.json(), second.json()]).toEqual([{ n: 2 }, { n: 3 }]);
      expect(maxAge(setCookies(first)[0])).toBe(60);
      expect([...visitor.cookies.keys()]).toEqual(["cookieName" in options ? "sid" : "sessionId"]);
      expect(Reflect.get(store, "store")).toHaveProperty("size", 0);
    },
  );

  it("are told to forget the former cookie where it was, whatever the new one's path", async () => {
    const { store, visitor: former } = await formerly();
    const cookie = { path: "/app", domain: "shop.example" };
    const { visitor } = serve({
      cookieName: "sid",
      cookie: { path: "/" },
      previous: { store, secret, cookie },
    });
    for (const [name, value] of former.cookies) visitor.cookies.set(name, value);

    await visitor.get("/count");
    const second = await visitor.get("/count");

    expect(setCookies(second)).toEqual([
      "sessionId=; Max-Age=0; Domain=shop.example; Path=/app; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ]);
  });

  it("begin anew where their session has expired, or their cookie is forged", async () => {
    const { store, visitor: former } = await formerly();
    const { visitor } = serve({ previous: { store, secret } });
    const kept = Reflect.get(store, "store") as Map<string, { cookie: { expires: Date } }>;
    const [id] = kept.keys();
    kept.get(id!)!.cookie.expires = new Date(0);
    for (const [name, value] of former.cookies) visitor.cookies.set(name, value);
    const expired = (await visitor.get("/read")).json().n;
    visitor.cookies.set("sessionId", `${id}.forged`);

    expect([expired, (await visitor.get("/read")).json().n]).toEqual([null, null]);
  });
});

describe.each<[string, Partial<SessionManagerOptions>]>([
  ["non-sticky", {}],
  ["sticky", { mode: "sticky", route: "app1" }],
])("%s", (_, mode) => {
  it("costs a request that does not look at its session neither decoding nor encoding", async () => {
    const work: string[] = [];
    const codec: Codec = {
      name: "noted",
      encode(value) {
        work.push("encode");
        return jsonCodec.encode(value);
      },
      decode(bytes) {
        work.push("decode");
        return jsonCodec.decode(bytes);
      },
    };
    const { visitor } = serve({ ...mode, codec, saveUninitialized: true } as Options, {
      "/fill": async ({ session }) => Object.assign(session, { n: 1, user: "ann" }) && "filled",
    });
    await visitor.get("/fill");
    work.length = 0;

    await visitor.get("/");

    expect(work).toEqual([]);
  });

  it("saves by hand what it decrypted, also after its request", async () => {
    const { app, visitor } = serve(mode as Options);
    await visitor.get("/count");
    const target: { session?: FastifyRequest["session"] } = {};
    await new Promise<void>((resolve) =>
      app.decryptSession(visitor.cookies.get("sessionId") ?? "", target, () => resolve()),
    );

    for (const n of [10, 20]) {
      target.session!.n = n;
      await target.session!.save();
    }

    expect((await visitor.get("/count")).json()).toEqual({ n: 21 });
  });
});

describe("sticky sessions", () => {
  it("tell the load balancer their route, and are shown by their cookie", async () => {
    const sticky: Partial<SessionManagerOptions> = { mode: "sticky", route: "app1" };
    const { visitor } = serve(sticky as Options, {
      "/signed": async ({ session }) => session.encryptedSessionId,
    });

    await visitor.get("/count");

    expect(visitor.cookies.get("sessionId")).toMatch(/\.app1$/);
    expect((await visitor.get("/signed")).body).toBe(visitor.cookies.get("sessionId"));
  });
});

describe("a real connection", () => {
  it("may be one of HTTP/2", async () => {
    const app = fastify({ http2: true });
    apps.push(app as unknown as FastifyInstance);
    app.register(session, { secret });
    addRoutes(app as unknown as FastifyInstance, {});
    const url = await app.listen({ port: 0, host: "127.0.0.1" });
    const client = http2.connect(url);
    const ask = async (cookie: string) => {
      const stream = client.request({ ":path": "/count", cookie });
      const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
      const body = (await stream.setEncoding("utf8").toArray()).join("");
      return { cookie: headers["set-cookie"]?.[0]?.split(";")[0] ?? "", body };
    };

    const first = await ask("other=1");
    const second = await ask(first.cookie);

    expect([first.body, second.body]).toEqual(['{"n":1}', '{"n":2}']);
    client.close();
  });

  it("is closed by the application, with its sessions saved", async () => {
    const { app } = serve();
    const url = await app.listen({ port: 0, host: "127.0.0.1" });

    const answer = await fetch(`${url}/count`);

    expect(answer.headers.getSetCookie()).toEqual([expect.stringMatching(/^sessionId=/)]);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    const closed = once(app.server, "close");
    await app.close();
    await closed;
  });
});
