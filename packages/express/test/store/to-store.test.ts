import fastifyCookie from "@fastify/cookie";
import fastifySession from "@fastify/session";
import { faulty, needsProgram, redisCommand, startServer, testClock } from "@msm/conformance";
import { createSessionManager, memoryStorage, type SessionManager } from "@msm/core";
import type { Express, Request } from "express";
import express from "express";
import expressSession, { type SessionData, type Store } from "express-session";
import fastify from "fastify";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { toStore } from "../../src/store/to-store.js";
import { Client } from "../client.js";
import { serve } from "../serve.js";

declare module "fastify" {
  interface Session {
    count: number;
  }
}

const secret = "only for the tests of toStore(), 32 bytes and more";

function managed(options: Parameters<typeof createSessionManager>[0] = { secret }): SessionManager {
  const manager = createSessionManager(options);
  onTestFinished(() => manager.close());
  return manager;
}

/** What express-session would hand to a store. */
const data = (attributes: object, cookie: object = {}) =>
  ({ ...attributes, cookie: Object.assign(new expressSession.Cookie(), cookie) }) as SessionData;

/** A store's verbs as promises. */
const asked = (store: Store) => ({
  get: (id: string) =>
    new Promise<SessionData | null | undefined>((resolve, reject) =>
      store.get(id, (error, found) => (error ? reject(error) : resolve(found))),
    ),
  set: (id: string, session: SessionData) => done((callback) => store.set(id, session, callback)),
  touch: (id: string, session: SessionData) => done((callback) => store.touch?.(id, session, callback)),
  destroy: (id: string) => done((callback) => store.destroy(id, callback)),
});

const done = (run: (callback: (error?: unknown) => void) => void) =>
  new Promise<void>((resolve, reject) => run((error) => (error ? reject(error) : resolve())));

const count = (req: Request) => {
  req.session.count = (req.session.count ?? 0) + 1;
  return String(req.session.count);
};

const routes = (app: Express) => {
  app.get("/", (req, res) => res.send(`${req.session.count ?? 0} ${req.session.cookie.originalMaxAge}`));
  app.get("/count", (req, res) => res.send(count(req)));
  app.get("/login", (req, res, next) =>
    req.session.regenerate((error: unknown) => (error ? next(error) : res.send(count(req)))),
  );
  app.get("/remember", (req, res) => {
    req.session.cookie.maxAge = 3_600_000;
    res.send(count(req));
  });
  app.get("/logout", (req, res, next) =>
    req.session.destroy((error: unknown) => (error ? next(error) : res.send("bye"))),
  );
  return app;
};

const sessionId = (client: Client) =>
  decodeURIComponent(client.cookie).replace(/^[^=]*=(?:s:)?([^.]*)\..*$/, "$1");

const places: readonly (readonly [name: string, program: string | undefined])[] = [
  ["memory", undefined],
  ["Redis", "redis-server"],
];

describe.each(places)("toStore() on %s", (_name, program) => {
  const { skip, reason } = program === undefined ? { skip: false, reason: "" } : needsProgram(program);
  let server: Awaited<ReturnType<typeof startServer>> | undefined;
  let manager: SessionManager;
  beforeAll(async () => {
    if (skip) return;
    if (program !== undefined) server = await startServer(redisCommand());
    const nodes = server && { nodes: `redis://127.0.0.1:${server.port}` };
    manager = createSessionManager({ secret, idleTimeoutMs: 600_000, ...nodes });
  });
  afterAll(async () => {
    await manager?.close();
    await server?.close();
  });

  it.skipIf(skip)(`serves express-session${reason}`, async () => {
    const app = express();
    app.use(expressSession({ secret, resave: false, saveUninitialized: false, store: toStore(manager) }));
    const { url, close } = await serve(routes(app));
    onTestFinished(close);
    const ann = new Client(url);

    expect((await ann.get("/count")).text).toBe("1");
    expect((await ann.get("/count")).text).toBe("2");
    const before = sessionId(ann);
    expect((await ann.get("/login")).text).toBe("1");
    expect(sessionId(ann)).not.toBe(before);
    expect((await ann.get("/remember")).text).toBe("2");
    expect((await ann.get("/")).text).toBe("2 3600000");
    expect(await manager.withSession(sessionId(ann), (session) => session.idleTimeoutMs)).toBe(3_600_000);
    expect((await ann.get("/logout")).text).toBe("bye");
    expect((await ann.get("/")).text).toBe("0 null");
  });

  it.skipIf(skip)(`serves @fastify/session${reason}`, async () => {
    const app = fastify();
    onTestFinished(() => app.close());
    await app.register(fastifyCookie);
    await app.register(fastifySession, {
      secret,
      saveUninitialized: false,
      cookie: { secure: false, maxAge: 60_000 },
      store: toStore(manager) as unknown as fastifySession.SessionStore,
    });
    app.get("/count", async (request) => {
      request.session.set("count", (request.session.get("count") ?? 0) + 1);
      return String(request.session.get("count"));
    });
    app.get("/login", async (request) => {
      await request.session.regenerate(["count"]);
      return String(request.session.get("count"));
    });
    app.get("/logout", async (request) => {
      await request.session.destroy();
      return "bye";
    });
    const ann = new Client(await app.listen({ port: 0, host: "127.0.0.1" }));

    expect((await ann.get("/count")).text).toBe("1");
    expect((await ann.get("/count")).text).toBe("2");
    const { cookie } = ann;
    expect((await ann.get("/login")).text).toBe("2");
    expect(ann.cookie).not.toBe(cookie);
    expect(await manager.withSession(sessionId(ann), (session) => session.idleTimeoutMs)).toBe(60_000);
    expect((await ann.get("/logout")).text).toBe("bye");
    expect((await ann.get("/count")).text).toBe("1");
  });

  it.skipIf(skip)(`gives back what was stored, with a cookie that begins anew${reason}`, async () => {
    const store = asked(toStore(manager));
    const id = `id-of-this-test-${program}`;
    const cookie = { maxAge: 60_000, sameSite: "lax", secure: true, domain: "example.com" };

    await store.set(id, data({ count: 1, items: ["book"] }, cookie));
    const found = await store.get(id);
    expect(found).toMatchObject({ count: 1, items: ["book"] });
    expect(found?.cookie).toMatchObject({
      originalMaxAge: 60_000,
      sameSite: "lax",
      secure: true,
      domain: "example.com",
    });
    expect(found?.cookie.expires?.getTime()).toBeGreaterThan(Date.now() + 50_000);
    await store.set(id, data({ items: [] }));
    expect(await store.get(id)).toEqual({
      items: [],
      cookie: { path: "/", httpOnly: true, originalMaxAge: null, expires: null },
    });
  });

  it.skipIf(skip)(`does not bring back what was destroyed${reason}`, async () => {
    const [store, other] = [asked(toStore(manager)), asked(toStore(manager))];
    const id = `ended-id-${program}`;
    await store.set(id, data({ count: 1 }));

    await store.destroy(id);
    expect(await other.get(id)).toBeNull();
    await other.set(id, data({ count: 2 }));
    await other.touch(id, data({ count: 2 }));
    expect(await store.get(id)).toBeNull();
    await store.destroy(id);
  });

  it.skipIf(skip)(`has nothing of an id that nobody stored${reason}`, async () => {
    const store = asked(toStore(manager));

    expect(await store.get("unknown")).toBeNull();
    await store.touch("unknown", data({ count: 1 }));
    expect(await store.get("unknown")).toBeNull();
    await store.destroy("unknown");
    expect(await store.get("unknown")).toBeNull();
  });
});

describe("toStore()", () => {
  it("is an express-session store, without the methods that list sessions", () => {
    const store = toStore(managed());

    expect(store).toBeInstanceOf(expressSession.Store);
    expect([store.all, store.length, store.clear]).toEqual([undefined, undefined, undefined]);
  });

  it("ends a session with the manager's idle timeout, or its cookie's age, which touch() begins anew", async () => {
    const clock = testClock();
    const store = asked(
      toStore(
        managed({
          secret,
          clock,
          idleTimeoutMs: 10_000,
          nodes: [{ id: "n1", storage: memoryStorage({ clock }) }],
        }),
      ),
    );
    await store.set("idle", data({ count: 1 }));
    await store.set("aged", data({ count: 1 }, { maxAge: 60_000 }));

    await clock.turn(9_000);
    await store.touch("idle", data({ count: 1 }));
    await clock.turn(9_000);
    expect(await store.get("idle")).toMatchObject({ count: 1 });
    await clock.turn(10_001);
    expect(await store.get("idle")).toBeNull();
    expect(await store.get("aged")).toMatchObject({ count: 1 });
  });

  it("keeps the age that touch() tells, though nothing else changed", async () => {
    const store = asked(toStore(managed()));
    await store.set("aged", data({ count: 1 }));
    await store.touch("aged", data({ count: 1 }, { maxAge: 3_600_000 }));

    expect((await store.get("aged"))?.cookie.originalMaxAge).toBe(3_600_000);
  });

  it("ends a session whose cookie is to end at a certain time with it, and destroys one that is over", async () => {
    const store = asked(toStore(managed()));
    const expires = new Date(Date.now() + 3_600_000);
    const endingAt = (date: Date) => ({ count: 1, cookie: { originalMaxAge: null, expires: date } }) as never;

    await store.set("ending", endingAt(expires));
    expect((await store.get("ending"))?.cookie.expires).toEqual(expires);
    await store.set("ending", endingAt(new Date(Date.now() - 1)));
    expect(await store.get("ending")).toBeNull();
  });

  it("writes nothing where nothing changed", async () => {
    const storage = faulty(memoryStorage());
    const store = asked(toStore(managed({ secret, nodes: [{ id: "n1", storage }] })));
    await store.set("unchanged", data({ count: 1 }, { maxAge: 60_000 }));
    const saves = () => storage.calls.filter(({ verb }) => verb === "save").length;
    const before = saves();

    await store.set("unchanged", data({ count: 1 }, { maxAge: 60_000 }));
    await store.touch("unchanged", data({ count: 1 }, { maxAge: 60_000 }));
    expect(saves()).toBe(before);
  });

  it("merges two sets that meet, attribute by attribute", async () => {
    const manager = managed();
    const store = asked(toStore(manager));
    await store.set("met", data({ a: 0, b: 0 }));

    await Promise.all([store.set("met", data({ a: 1, b: 0 })), store.set("met", data({ a: 0, b: 1 }))]);
    expect(await store.get("met")).toMatchObject({ a: 1, b: 1 });
  });

  it.each(["sync", "async"] as const)(
    "keeps sessions of a sticky process, and brings none back, with backup: %o",
    async (backup) => {
      const store = asked(toStore(managed({ secret, mode: "sticky", route: "app1", backup })));
      await store.set("sticky", data({ count: 1 }));
      await store.set("sticky", data({ count: 2 }));
      expect(await store.get("sticky")).toMatchObject({ count: 2 });

      await store.destroy("sticky");
      await store.set("sticky", data({ count: 3 }));
      expect(await store.get("sticky")).toBeNull();
      await store.set("sticky", data({ count: 4 }));
      expect(await store.get("sticky")).toBeNull();
    },
  );

  it.each(["reject", "without-session"] as const)(
    "reports it where the nodes cannot be asked, with onStorageError %o",
    async (onStorageError) => {
      const storage = faulty(memoryStorage());
      const store = asked(toStore(managed({ secret, onStorageError, nodes: [{ id: "n1", storage }] })));
      await store.set("there", data({ count: 1 }));
      storage.goDown();
      const trouble = { code: expect.stringMatching(/^MSM_ERR_STORAGE_/) };

      await expect(store.get("there")).rejects.toMatchObject(trouble);
      await expect(store.set("there", data({ count: 2 }))).rejects.toMatchObject(trouble);
      await expect(store.touch("there", data({ count: 2 }))).rejects.toMatchObject(trouble);
      await expect(store.destroy("there")).rejects.toMatchObject(trouble);
    },
  );

  it("refuses an id that no cookie can hold, and an attribute that no session can", async () => {
    const store = asked(toStore(managed()));

    await expect(store.set("not an id", data({ count: 1 }))).rejects.toMatchObject({
      code: "MSM_ERR_OPTION",
    });
    await expect(store.set("id", data({ constructor: 1 }))).rejects.toMatchObject({
      code: "MSM_ERR_ATTRIBUTE_NAME",
    });
  });
});
