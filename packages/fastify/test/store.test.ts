import { once } from "node:events";
import http from "node:http";
import { Readable } from "node:stream";
import fastifyCookie from "@fastify/cookie";
import library from "@fastify/session";
import msm, { MemoryStore, type SessionStore, type StoreOptions } from "@msm/fastify";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { afterEach, describe, expect, it, vi } from "vitest";
import { setCookies, Visitor } from "./visitor.js";

// Where we do better than @fastify/session, with a store of its kind.

const secret = "only for the tests of stores, 32 bytes and more";

const apps: FastifyInstance[] = [];
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown;

function serve(options: Partial<StoreOptions>, handlers: Record<string, Handler> = {}) {
  const app = fastify({ trustProxy: true, forceCloseConnections: true });
  apps.push(app);
  app.register(msm, { secret, store: new LogStore(), ...options });
  addRoutes(app, handlers);
  return { app, visitor: new Visitor(app) };
}

function addRoutes(app: FastifyInstance, handlers: Record<string, Handler>): void {
  app.register((routes, _options, done) => {
    const all: Record<string, Handler> = { "/": async () => "hello", ...handlers };
    for (const [path, handler] of Object.entries(all)) {
      routes.get(path, async (request, reply) => handler(request, reply));
    }
    done();
  });
}

/** A store that notes what it is asked, and waits where a test wants it to. */
class LogStore implements SessionStore {
  readonly log: string[] = [];
  readonly kept = new Map<string, string>();
  before: (verb: string) => Promise<void> = async () => {};

  get: SessionStore["get"] = (id, callback) => {
    void this.#do("get").then(() => {
      const kept = this.kept.get(id);
      callback(null, kept === undefined ? null : JSON.parse(kept));
    });
  };

  set: SessionStore["set"] = (id, session, callback) => {
    const json = JSON.stringify(session);
    void this.#do("set").then(() => {
      this.kept.set(id, json);
      callback();
    });
  };

  destroy: SessionStore["destroy"] = (id, callback) => {
    void this.#do("destroy").then(() => {
      this.kept.delete(id);
      callback();
    });
  };

  async #do(verb: string): Promise<void> {
    await this.before(verb);
    this.log.push(verb);
  }
}

class TouchStore extends LogStore {
  touch: NonNullable<SessionStore["touch"]> = (_id, _session, callback) => {
    this.log.push("touch");
    callback();
  };
}

const count: Handler = async ({ session }) => {
  session.n = (session.n ?? 0) + 1;
  return { n: session.n };
};

describe("an application that changes its import alone", () => {
  it.each([
    ["", library, msm],
    ["back ", msm, library],
  ])("%skeeps everybody logged in: the same cookie, the same store", async (_, before, after) => {
    const store = new LogStore();
    const visitors = [before, after].map((plugin) => {
      const app = fastify({ trustProxy: true });
      apps.push(app);
      app.register(fastifyCookie);
      app.register(plugin, { secret, store, cookie: { maxAge: 60_000 } });
      addRoutes(app, { "/count": count });
      return new Visitor(app);
    });
    await visitors[0]!.get("/count");
    for (const [name, value] of visitors[0]!.cookies) visitors[1]!.cookies.set(name, value);

    const answer = await visitors[1]!.get("/count");

    expect(answer.json()).toEqual({ n: 2 });
    expect(store.kept.size).toBe(1);
  });

  it("may leave its store in memory out of the options, too", async () => {
    const app = fastify();
    apps.push(app);
    app.register(fastifyCookie);
    app.register(msm, { secret, cookie: { secure: false } });
    addRoutes(app, { "/count": count });
    const visitor = new Visitor(app);

    await visitor.get("/count");

    expect((await visitor.get("/count")).json()).toEqual({ n: 2 });
    expect([...visitor.cookies.keys()]).toEqual(["sessionId"]);
  });
});

describe("a session in a store", () => {
  it("is saved before the first byte of its answer, also where that is a stream", async () => {
    const store = new LogStore();
    const { app } = serve(
      { store, cookie: { secure: false } },
      {
        "/text": async ({ session }) => {
          session.n = 1;
          return "text";
        },
        "/stream": async ({ session }, reply) => {
          session.n = 1;
          return reply.send(Readable.from(["a", "b"], { objectMode: false }));
        },
        "/web": async ({ session }, reply) => {
          session.n = 1;
          return reply.send(new Response("from the web").body);
        },
        "/trailer": async ({ session }, reply) => {
          session.n = 1;
          reply.trailer("x-sum", async () => "4");
          return "with";
        },
        "/hijacked": async ({ session }, reply) => {
          session.n = 1;
          reply.hijack();
          reply.raw.end("raw");
        },
      },
    );
    const url = await app.listen({ port: 0, host: "127.0.0.1" });
    store.before = () => new Promise((resolve) => setImmediate(resolve));

    for (const [path, body] of [
      ["/text", "text"],
      ["/stream", "ab"],
      ["/web", "from the web"],
      ["/trailer", "with"],
      ["/hijacked", "raw"],
    ] as const) {
      store.log.length = 0;
      const request = http.get(url + path, { agent: false });
      const [response] = (await once(request, "response")) as [http.IncomingMessage];
      const logAtHead = [...store.log];
      const received = await response.setEncoding("utf8").toArray();

      expect([path, logAtHead, received.join("")]).toEqual([path, ["set"], body]);
      expect(response.headers["set-cookie"]).toEqual([expect.stringMatching(/^sessionId=/)]);
    }
  });

  it("keeps what a stream puts into it after its head", async () => {
    const store = new LogStore();
    const { visitor } = serve(
      { store },
      {
        "/stream": async ({ session }, reply) => {
          session.n = 1;
          async function* parts() {
            yield "a";
            await new Promise((resolve) => setImmediate(resolve));
            session.n = 2;
            yield "b";
          }
          return reply.send(Readable.from(parts(), { objectMode: false }));
        },
      },
    );

    const answer = await visitor.get("/stream");

    expect(answer.body).toBe("ab");
    expect([...store.kept.values()].map((kept) => JSON.parse(kept).n)).toEqual([2]);
  });

  it("that cannot be saved leaves nothing of its handler's answer: the application's error handler answers", async () => {
    const store = new LogStore();
    store.set = (_id, _session, callback) => callback(new Error("no room today"));
    const { app, visitor } = serve(
      { store },
      {
        "/secret": async ({ session }, reply) => {
          session.n = 1;
          return reply.header("etag", '"v1"').header("set-cookie", "a=1").type("text/csv").send("secret");
        },
        "/stream": async ({ session }, reply) => {
          session.n = 1;
          return reply.send(Readable.from(["secret"], { objectMode: false }));
        },
        "/web": async ({ session }, reply) => {
          session.n = 1;
          return reply.send(new Response("secret").body);
        },
      },
    );
    app.setErrorHandler((error: Error, _request, reply) => reply.code(507).send({ sorry: error.message }));

    for (const path of ["/secret", "/stream", "/web"]) {
      const answer = await visitor.get(path);

      expect([answer.statusCode, answer.json()]).toEqual([507, { sorry: "no room today" }]);
      expect(answer.headers).not.toHaveProperty("set-cookie");
      expect(answer.headers).not.toHaveProperty("etag");
    }
  });

  it("that cannot be saved leaves cookies that were set before it began, and none of its handler's", async () => {
    const store = new LogStore();
    store.set = (_id, _session, callback) => callback(new Error("no room today"));
    const app = fastify({ trustProxy: true });
    apps.push(app);
    app.addHook("onRequest", async (_request, reply) => void reply.raw.setHeader("set-cookie", "early=1"));
    app.register(msm, { secret, store });
    addRoutes(app, {
      "/count": async ({ session }, reply) => {
        session.n = 1;
        return reply.header("set-cookie", "late=1").send("counted");
      },
    });

    expect(setCookies(await new Visitor(app).get("/count"))).toEqual(["early=1"]);
  });

  it("that cannot be saved fails a hijacked reply too", async () => {
    const store = new LogStore();
    store.set = (_id, _session, callback) => callback(new Error("no room today"));
    const { visitor } = serve(
      { store },
      {
        "/hijacked": async ({ session }, reply) => {
          session.n = 1;
          reply.hijack();
          reply.raw.end("raw");
        },
      },
    );

    const answer = await visitor.get("/hijacked");

    expect([answer.statusCode, answer.json().message]).toEqual([503, "no room today"]);
  });

  it("takes its cookie along when it is destroyed", async () => {
    const { visitor } = serve(
      { cookie: { path: "/app", domain: "example.com" } },
      {
        "/app/count": count,
        "/app/destroy": async ({ session }) => {
          await session.destroy();
          return "bye";
        },
      },
    );
    await visitor.get("/app/count");

    expect(setCookies(await visitor.get("/app/destroy"))).toEqual([
      expect.stringMatching(
        /^sessionId=; Max-Age=0; Domain=example.com; Path=\/app; Expires=Thu, 01 Jan 1970/,
      ),
    ]);
  });

  it("is not stored again by a request that had it when another destroyed it", async () => {
    const store = new LogStore();
    let hasEntered: () => void = () => {};
    const entered = new Promise<void>((resolve) => {
      hasEntered = resolve;
    });
    let goOn: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const { visitor } = serve(
      { store },
      {
        "/count": count,
        "/destroy": async ({ session }) => {
          await session.destroy();
          return "bye";
        },
        "/slow": async ({ session }) => {
          hasEntered();
          await gate;
          session.n = 99;
          return "late";
        },
      },
    );
    await visitor.get("/count");

    const slow = visitor.get("/slow");
    await entered;
    await visitor.get("/destroy");
    goOn();

    expect(setCookies(await slow)).toEqual([]);
    expect(store.kept.size).toBe(0);
  });

  describe("whose end the store refuses", () => {
    const away = new Error("the store is away");
    const endings: Record<string, Handler> = {
      "not awaited": async ({ session }) => {
        void session.destroy();
        return "bye";
      },
      "by a new id": async ({ session }) => {
        await session.regenerate();
        return "another";
      },
      "not awaited, by a new id": async ({ session }) => {
        void session.regenerate();
        return "another";
      },
    };

    it.each(Object.entries(endings))("is not answered as if it had ended, %s", async (_how, end) => {
      const store = new LogStore();
      const { visitor } = serve({ store, saveUninitialized: false }, { "/count": count, "/end": end });
      await visitor.get("/count");
      const { destroy } = store;

      store.destroy = (_id, callback) => void callback(away);
      const answer = await visitor.get("/end");
      store.destroy = destroy;

      expect(answer.statusCode).toBeGreaterThanOrEqual(500);
      expect(setCookies(answer)).not.toContainEqual(expect.stringMatching(/^sessionId=;/));
      expect(answer.json()).toMatchObject({ message: away.message });
      expect((await visitor.get("/count")).json()).toEqual({ n: 2 });
    });

    it("is waited for where its request does not", async () => {
      const store = new LogStore();
      const { visitor } = serve({ store }, { "/count": count, "/end": endings["not awaited"]! });
      await visitor.get("/count");

      store.before = () => new Promise((resolve) => setImmediate(resolve));
      const answer = await visitor.get("/end");

      expect(store.kept.size).toBe(0);
      expect(setCookies(answer)).toEqual([expect.stringMatching(/^sessionId=;/)]);
    });
  });

  it("that rolls is touched in a store that can, and stored again in one that cannot, not with every request", async () => {
    const [plain, touching] = [new LogStore(), new TouchStore()];
    for (const store of [plain, touching]) {
      const { visitor } = serve({ store, cookie: { maxAge: 60_000 }, renewAfterMs: 1_000_000 });
      for (let n = 0; n < 4; n++) await visitor.get("/");
    }
    const { visitor } = serve({ store: touching, cookie: { maxAge: 60_000 }, renewAfterMs: 0 });
    await visitor.get("/");
    touching.log.length = 0;
    const answers = [await visitor.get("/"), await visitor.get("/")];

    expect(plain.log).toEqual(["set", "get", "get", "get"]);
    expect(touching.log).toEqual(["get", "touch", "get", "touch"]);
    expect(answers.map((answer) => setCookies(answer).length)).toEqual([1, 1]);
  });

  it("that a process knows nothing of is renewed at its first request there", async () => {
    const store = new TouchStore();
    const options = { store, cookie: { maxAge: 60_000 } };
    const [one, other] = [serve(options).visitor, serve(options).visitor];
    await one.get("/");
    other.cookies.set("sessionId", one.cookies.get("sessionId") ?? "");
    store.log.length = 0;

    await other.get("/");
    await other.get("/");

    expect(store.log).toEqual(["get", "touch", "get"]);
  });

  it("lives as long as a store that can touch it says, and as long as its cookie otherwise", async () => {
    const stale = JSON.stringify({ n: 7, cookie: { originalMaxAge: 1000, expires: new Date(0) } });
    const seen = [];
    for (const store of [new LogStore(), new TouchStore()]) {
      const { visitor } = serve({ store, cookie: { maxAge: 1000 } }, { "/count": count });
      store.kept.set("an-id", stale);
      visitor.cookies.set("sessionId", fastifyCookie.sign("an-id", secret));
      seen.push((await visitor.get("/count")).json());
    }

    expect(seen).toEqual([{ n: 1 }, { n: 8 }]);
  });

  it("ends after absoluteTimeoutMs, however much it is used", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_000_000 });
    const store = new LogStore();
    const { visitor } = serve(
      { store, absoluteTimeoutMs: 10_000 },
      {
        "/count": count,
        "/renew": async (request) => {
          await request.session.regenerate({ keep: true });
          return "renewed";
        },
      },
    );
    await visitor.get("/count");
    vi.setSystemTime(1_009_000);
    await visitor.get("/renew");
    const before = (await visitor.get("/count")).json();
    vi.setSystemTime(1_011_000);
    const after = (await visitor.get("/count")).json();

    expect([before, after]).toEqual([{ n: 2 }, { n: 1 }]);
    expect(store.kept.size).toBe(1);
  });

  it("is the first that verifies, where the client has several cookies of the name", async () => {
    const store = new LogStore();
    const { visitor } = serve({ store }, { "/count": count });
    store.kept.set("an-id", JSON.stringify({ n: 7, cookie: {} }));
    const cookie = `sessionId=forged.x; sessionId=; sessionId=${encodeURIComponent(fastifyCookie.sign("an-id", secret))}`;

    expect((await visitor.get("/count", { headers: { cookie } })).json()).toEqual({ n: 8 });
  });

  it("stays, with its cookie, where its secret was rotated and nothing else changes", async () => {
    const store = new LogStore();
    const options = { store, secret: [secret, "the one before, 32 bytes and more as well"] };
    const { visitor } = serve({ ...options, saveUninitialized: false, rolling: false }, { "/count": count });
    store.kept.set("an-id", JSON.stringify({ n: 7, cookie: {} }));
    visitor.cookies.set(
      "sessionId",
      fastifyCookie.sign("an-id", "the one before, 32 bytes and more as well"),
    );

    await visitor.get("/"); // @fastify/session clears the cookie here

    expect(visitor.cookies.get("sessionId")).toBe(fastifyCookie.sign("an-id", secret));
    expect((await visitor.get("/count")).json()).toEqual({ n: 8 });
  });

  it("is stored under its new id before the old one ends, and once", async () => {
    const store = new LogStore();
    const { visitor } = serve(
      { store, rolling: false },
      {
        "/count": count,
        "/renew": async (request) => {
          await request.session.regenerate({ keep: ["n"] });
          return "renewed";
        },
      },
    );
    await visitor.get("/count");
    store.log.length = 0;

    await visitor.get("/renew");

    expect(store.log).toEqual(["get", "set", "destroy"]);
    expect((await visitor.get("/count")).json()).toEqual({ n: 2 });
  });

  it("does not come back under its id by reload() after it has ended", async () => {
    const store = new LogStore();
    const { visitor } = serve(
      { store },
      {
        "/count": count,
        "/reload": async (request) => {
          const { sessionId } = request.session;
          store.kept.clear();
          await request.session.reload();
          return { isSame: request.session.sessionId === sessionId };
        },
      },
    );
    await visitor.get("/count");

    expect((await visitor.get("/reload")).json()).toEqual({ isSame: false });
  });

  it("fails its request with 503 where its store never calls back", async () => {
    const store = new LogStore();
    store.get = () => {};
    const { visitor } = serve({ store, storeTimeoutMs: 5 });
    visitor.cookies.set("sessionId", fastifyCookie.sign("an-id", secret));

    const answer = await visitor.get("/");

    expect([answer.statusCode, answer.json().code]).toEqual([503, "MSM_ERR_STORAGE_TIMEOUT"]);
  });

  it("is not begun where its client can no longer be told", async () => {
    const store = new LogStore();
    const { app } = serve(
      { store, saveUninitialized: false, cookie: { secure: false } },
      {
        "/late": async ({ session }, reply) => {
          reply.hijack();
          await new Promise<void>((resolve) => reply.raw.write("a", () => resolve()));
          session.n = 1;
          reply.raw.end("b");
        },
      },
    );
    const url = await app.listen({ port: 0, host: "127.0.0.1" });

    await expect(fetch(`${url}/late`).then((answer) => answer.text())).rejects.toThrow();

    expect(store.kept.size).toBe(0);
  });

  it("is not lost by an attribute named __proto__: that is refused", async () => {
    const { visitor } = serve(
      {},
      {
        "/set": async ({ session }) => {
          session.n = 1;
          session.set("__proto__" as never, { isAdmin: true } as never);
          return "set";
        },
      },
    );

    const answer = await visitor.get("/set");

    expect([answer.statusCode, answer.json().code]).toEqual([500, "MSM_ERR_ATTRIBUTE_NAME"]);
  });

  it("has no other prototype, whatever the store says", async () => {
    const store = new LogStore();
    const { visitor } = serve(
      { store },
      {
        "/admin": async ({ session }) => ({ n: session.n, isAdmin: "isAdmin" in session }),
      },
    );
    store.kept.set("an-id", '{"n":7,"__proto__":{"isAdmin":true},"cookie":{}}');
    visitor.cookies.set("sessionId", fastifyCookie.sign("an-id", secret));

    expect((await visitor.get("/admin")).json()).toEqual({ n: 7, isAdmin: false });
  });

  it("may be kept as it is, as the library's store in memory does", async () => {
    const store = new MemoryStore();
    const { visitor } = serve(
      { store },
      {
        "/fill": async ({ session }) => {
          session.user = "ann";
          return "filled";
        },
        "/count": count,
      },
    );

    for (const path of ["/fill", "/count", "/count"]) await visitor.get(path);

    expect((await visitor.get("/count")).json()).toEqual({ n: 3 });
  });
});

describe("the options", () => {
  it.each([
    [{ store: {} as SessionStore }, "store must have the methods get, set and destroy"],
    [{ absoluteTimeoutMs: 0 }, "absoluteTimeoutMs must be milliseconds"],
    [{ storeTimeoutMs: Number.NaN }, "storeTimeoutMs must be milliseconds"],
    [{ renewAfterMs: -1 }, "renewAfterMs must be milliseconds"],
    [{ nodes: "cache1:11211" } as Partial<StoreOptions>, "give one of store, nodes"],
  ])("%j are refused", async (options, message) => {
    await expect(serve(options).app.ready()).rejects.toMatchObject({
      code: "MSM_ERR_OPTION",
      message: expect.stringContaining(message),
    });
  });
});
