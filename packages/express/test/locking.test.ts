import { waitUntil } from "@msm/conformance";
import {
  createSessionManager,
  type SessionManager,
  type SessionManagerOptions,
  type SessionRequest,
} from "@msm/core";
import { session } from "@msm/express";
import express, { type Express } from "express";
import express4 from "express4";
import { afterEach, describe, expect, it } from "vitest";
import { serve } from "./serve.js";

declare module "express-session" {
  interface SessionData {
    visits: number;
  }
}

const secret = "only for the tests of this package, 32 bytes and more";

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

/** A manager that notes the requests it opens. */
function watchedManager(options: Partial<SessionManagerOptions> = {}) {
  const opened: SessionRequest[] = [];
  const manager = createSessionManager({
    secret,
    lockTimeoutMs: 60_000,
    ...options,
  } as SessionManagerOptions);
  closings.push(() => manager.close());
  const watched: SessionManager = {
    ...manager,
    open(request) {
      opened.push(request);
      return manager.open(request);
    },
  };
  return { manager: watched, opened };
}

/** Asks as one client, which keeps its session's cookie. `ask` resolves when the answer's head is there. */
async function browserOf(app: Express) {
  const { url, close } = await serve(app);
  closings.push(close);
  let cookie = "";
  const ask = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(url + path, { ...init, headers: { cookie } });
    cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? cookie;
    return response;
  };
  return { ask, get: async (path: string) => (await ask(path)).text() };
}

const visitorOf = async (app: Express) => (await browserOf(app)).get;

for (const [name, framework] of [
  ["Express 5", express],
  ["Express 4", express4],
] as const) {
  describe(`locking, ${name}`, () => {
    const isLocked = (app: Express, path: string, ...before: express.RequestHandler[]) =>
      app.get(path, ...before, (req, res) => {
        req.session.visits = (req.session.visits ?? 0) + 1;
        res.send(String(req.session.isLocked));
      });

    it("is a route's own choice, before the sessions' middleware and behind it", async () => {
      const app = framework();
      const { manager } = watchedManager({ locking: "all" });
      const sessions = session({ manager });
      app.use("/free", sessions.unlocked);
      app.use(sessions);
      isLocked(app, "/locked");
      isLocked(app, "/free/early");
      isLocked(app, "/late", sessions.unlocked);
      isLocked(app, "/free/after-all", sessions.locked);
      const get = await visitorOf(app);
      await get("/locked");

      expect([
        await get("/locked"),
        await get("/free/early"),
        await get("/late"),
        await get("/free/after-all"),
      ]).toEqual(["true", "false", "false", "true"]);
    });

    it("is a route's own choice where requests do not lock", async () => {
      const app = framework();
      const { manager } = watchedManager();
      const sessions = session({ manager });
      app.use("/early", sessions.locked);
      app.use(sessions);
      isLocked(app, "/early");
      isLocked(app, "/late", sessions.locked);
      isLocked(app, "/free");
      const get = await visitorOf(app);
      await get("/free");

      expect([await get("/early"), await get("/late"), await get("/free")]).toEqual([
        "true",
        "true",
        "false",
      ]);
    });

    it("tells the route's pattern where the middleware is mounted in it", async () => {
      const app = framework();
      const { manager, opened } = watchedManager();
      const sessions = session({ manager });
      const router = framework.Router();
      isLocked(router as Express, "/items/:item", sessions);
      app.use("/shop", router);
      app.use(sessions);
      isLocked(app, "/elsewhere/:id");
      const get = await visitorOf(app);

      await get("/shop/items/17");
      await get("/elsewhere/4");

      expect(opened.map(({ routePattern }) => routePattern)).toEqual(["/shop/items/:item", undefined]);
    });

    it("can be had, and given back, in the middle of a handler, with the newest values", async () => {
      const app = framework();
      const { manager } = watchedManager();
      app.use(session({ manager }));
      isLocked(app, "/visit");
      const states: unknown[] = [];
      let wake = () => {};
      app.get("/long", async (req, res) => {
        const { visits } = req.session;
        await new Promise<void>((resolve) => {
          wake = resolve;
          states.push(visits);
        });
        await req.session.lock();
        states.push([req.session.visits, req.session.isLocked]);
        req.session.visits = 10;
        await req.session.save();
        states.push(req.session.isLocked);
        await req.session.release();
        states.push(req.session.isLocked);
        res.send("ok");
      });
      const get = await visitorOf(app);
      await get("/visit");
      const long = get("/long");
      while (states.length === 0) await new Promise((resolve) => setImmediate(resolve));
      await get("/visit");

      wake();
      expect(await long).toBe("ok");

      expect(states).toEqual([1, [2, true], true, false]);
    });

    it("is given back where the session is taken from its request", async () => {
      const app = framework();
      const { manager } = watchedManager({ locking: "all" });
      app.use(session({ manager }));
      isLocked(app, "/visit");
      app.get("/null", (req, res) => {
        Object.assign(req, { session: null });
        res.send("ok");
      });
      app.get("/delete", (req, res) => {
        Reflect.deleteProperty(req, "session");
        res.send("ok");
      });
      const get = await visitorOf(app);
      await get("/visit");

      for (const path of ["/null", "/delete"]) {
        expect([await get(path), await get("/visit")]).toEqual(["ok", "true"]);
      }
    });

    it("is given back with the head of a stream of events, however its type is spelled", async () => {
      const app = framework();
      const { manager } = watchedManager({ locking: "all" });
      app.use(session({ manager }));
      isLocked(app, "/visit");
      app.get("/events", (_req, res) => {
        res.writeHead(200, { "Content-Type": "Text/Event-Stream" });
        res.write("data: 1\n\n");
      });
      const { ask, get } = await browserOf(app);
      await get("/visit");

      const events = await ask("/events");

      expect(await get("/visit")).toBe("true");
      await events.body?.cancel();
    });

    it("and the line before it are left by clients that go away", async () => {
      const app = framework();
      const { manager } = watchedManager({ locking: "all" });
      app.use(session({ manager }));
      isLocked(app, "/visit");
      let isReached = false;
      app.get("/never", () => {
        isReached = true;
      });
      const { ask, get } = await browserOf(app);
      await get("/visit");

      const [leaving, waiting] = [new AbortController(), new AbortController()];
      const never = expect(ask("/never", { signal: leaving.signal })).rejects.toThrow("aborted");
      await waitUntil("the handler that never answers runs", () => isReached);
      const second = expect(ask("/visit", { signal: waiting.signal })).rejects.toThrow("aborted");
      await waitUntil("another request waits", () => manager.stats().waitingRequests === 1);
      waiting.abort();
      await waitUntil("nobody waits any more", () => manager.stats().waitingRequests === 0);
      leaving.abort();

      await Promise.all([never, second]);
      expect(await get("/visit")).toBe("true");
    });

    it("renews the id and keeps the session, for callbacks and promises alike", async () => {
      const app = framework();
      const { manager } = watchedManager();
      app.use(session({ manager }));
      app.get("/", async (req, res) => {
        const before = req.session.id;
        req.session.visits = (req.session.visits ?? 0) + 1;
        await req.session.regenerate({ keep: "all", grace: true });
        res.json([req.session.visits, req.session.id !== before]);
      });
      app.get("/emptied", (req, res) => {
        req.session.regenerate(() => res.json([req.session.visits ?? 0]));
      });
      const get = await visitorOf(app);

      expect([await get("/"), await get("/"), await get("/emptied")]).toEqual([
        "[1,true]",
        "[2,true]",
        "[0]",
      ]);
    });
  });
}
