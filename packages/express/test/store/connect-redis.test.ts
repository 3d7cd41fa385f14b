import { needsProgram, redisCommand, startServer, type TestServer } from "@msm/conformance";
import { RedisStore } from "connect-redis";
import type { Express, Request } from "express";
import expressSession from "express-session";
import createMemoryStore from "memorystore";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { storeApp } from "./store-app.js";

const count = (req: Request) => {
  req.session.count = (req.session.count ?? 0) + 1;
  return String(req.session.count);
};

const routes = (app: Express) => {
  app.get("/", (req, res) => res.send(String(req.session.count ?? 0)));
  app.get("/count", (req, res) => res.send(count(req)));
  app.get("/login", async (req, res) => {
    await req.session.regenerate();
    res.send(count(req));
  });
  app.get("/logout", (req, res, next) => {
    req.session.destroy((error) => (error ? next(error) : res.send("bye")));
  });
};

const { skip, reason } = needsProgram("redis-server");

describe.skipIf(skip)(`connect-redis${reason}`, () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer(redisCommand());
  });
  afterAll(() => server.close());

  async function redis() {
    const client = createClient({
      url: `redis://127.0.0.1:${server.port}`,
      disableOfflineQueue: true,
      socket: { reconnectStrategy: 20 },
    });
    client.on("error", () => {}); // the store says it to each request
    await client.connect();
    onTestFinished(() => client.destroy());
    return client;
  }

  it("keeps sessions, and their time to live", async () => {
    const client = await redis();
    const store = new RedisStore({ client });
    const { client: browser } = await storeApp(routes, { store, cookie: { maxAge: 100_000 } });
    const ann = browser();
    const leftSeconds = async () => {
      const [key = ""] = await client.keys("sess:*");
      return client.ttl(key);
    };

    expect((await ann.get("/count")).text).toBe("1");
    expect((await ann.get("/count")).text).toBe("2");
    const [key = ""] = await client.keys("sess:*");
    await client.expire(key, 10);
    expect((await ann.get("/")).text).toBe("2");
    expect(await leftSeconds()).toBeGreaterThan(90);
    expect((await ann.get("/login")).text).toBe("1");
    expect(await client.keys("sess:*")).toHaveLength(1);
    expect((await ann.get("/logout")).set[0]).toMatch(/^connect.sid=; /);
    expect(await client.keys("sess:*")).toEqual([]);
  });

  it("answers with an error while its server is away, whatever the request did, and keeps the session", async () => {
    const client = await redis();
    const { client: browser } = await storeApp(routes, {
      store: new RedisStore({ client }),
      storeTimeoutMs: 2000,
    });
    const ann = browser();
    await ann.get("/count");
    await server.freeze();
    const asked = ann.get("/count");
    await server.kill();

    expect(await asked).toMatchObject({ status: 500, set: [] });
    // A session that begins now: with express-session its client gets 200 and a cookie of nothing.
    expect(await browser().get("/count")).toMatchObject({ status: 503, set: [] });

    await server.restart();
    await expect.poll(async () => (await browser().get("/count")).status).toBe(200);
    expect((await ann.get("/count")).text).toBe("1");
  });

  it("calls back once where a callback throws, though connect-redis catches what it throws", async () => {
    const client = await redis();
    const errors: string[] = [];
    const note = (error: Error) => errors.push(error.message);
    const others = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException").on("uncaughtException", note);
    onTestFinished(() => {
      process.removeAllListeners("uncaughtException");
      for (const other of others) process.on("uncaughtException", other);
    });
    let calls = 0;
    const { client: browser } = await storeApp(
      (app) =>
        app.get("/", (req, res) => {
          req.session.save(() => {
            calls++;
            res.send("saved");
            throw new Error("a defect of the application");
          });
        }),
      { store: new RedisStore({ client }) },
    );

    expect((await browser().get()).text).toBe("saved");
    await expect.poll(() => errors).toEqual(["a defect of the application"]);
    expect(calls).toBe(1);
  });
});

describe("memorystore", () => {
  it("keeps sessions", async () => {
    const MemoryStore = createMemoryStore(expressSession);
    const store = new MemoryStore({});
    onTestFinished(() => store.stopInterval());
    const { client } = await storeApp(routes, { store });
    const ann = client();

    expect((await ann.get("/count")).text).toBe("1");
    expect((await ann.get("/")).text).toBe("1");
    expect((await ann.get("/login")).text).toBe("1");
    expect((await ann.get("/logout")).text).toBe("bye");
    expect((await ann.get("/")).text).toBe("0");
  });
});
