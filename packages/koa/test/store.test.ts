import { inspect } from "node:util";
import { type StoredData, type StoreOptions, session } from "@msm/koa";
import type { Context } from "koa";
import { describe, expect, it } from "vitest";
import { MemoryStore } from "./memory-store.js";
import { closeLater, start, versions, visit } from "./running.js";
import { visitor } from "./visitor.js";

describe.each(versions)("sessions in a koa-session store, %s", (_version, Koa) => {
  function application(options: Partial<StoreOptions>, routes: Record<string, (ctx: Context) => unknown>) {
    const app = new Koa();
    const store = new MemoryStore();
    app.keys = ["a", "b"];
    app.use(session({ ...(options.ContextStore ? {} : { store }), ...options } as StoreOptions, app));
    app.use(async (ctx) => {
      const answer = await routes[ctx.path]?.(ctx);
      if (ctx.respond !== false) ctx.body = answer ?? (ctx.path === "/read" ? ctx.session : "done");
    });
    return Object.assign(app, { store });
  }
  const count = (ctx: Context) => {
    ctx.session!.n = (ctx.session!.n ?? 0) + 1;
    return String(ctx.session!.n);
  };
  const namesOf = (set: readonly string[]) => set.map((header) => header.split("=")[0]);

  /** Turns what `Date.now()` says on. */
  function turnableClock() {
    const realNow = Date.now;
    let ahead = 0;
    Date.now = () => realNow() + ahead;
    closeLater(() => {
      Date.now = realNow;
    });
    return (ms: number) => {
      ahead += ms;
    };
  }

  describe("what is stored", () => {
    it("is koa-session's: the values, _expire and _maxAge, ten seconds longer than they are valid", async () => {
      const app = application({ maxAge: 60_000 }, { "/count": count });
      const before = Date.now();
      const ask = await visit(app);
      const { set } = await ask("/count");

      const [, call] = [app.store.calls[0], app.store.calls.at(-1)!];
      const { _expire, ...others } = app.store.only;
      expect(others).toEqual({ n: 1, _maxAge: 60_000 });
      expect(_expire).toBeGreaterThanOrEqual(before + 60_000);
      expect(call).toMatchObject({
        method: "set",
        args: [70_000, { changed: true, rolling: false, ctx: expect.anything() }],
      });
      expect(namesOf(set)).toEqual(["koa.sess", "koa.sess.sig"]);
      expect(set[0]).toMatch(/^koa\.sess=[0-9a-f-]{36}; path=\/; expires=.*; httponly$/);
    });

    it("is not lost by a value named __proto__: that is refused", async () => {
      const app = application(
        {},
        {
          "/name": (ctx) => {
            ctx.session!.n = 1;
            Reflect.set(ctx.session!, "__proto__", { populated: false });
          },
          "/object": (ctx) => {
            ctx.session = JSON.parse('{"n":1,"__proto__":{"populated":false}}');
          },
          "/caught": (ctx) => {
            ctx.session!.n = 1;
            expect(() => Reflect.set(ctx.session!, "__proto__", {})).toThrow("__proto__");
          },
        },
      );
      const ask = await visit(app);

      expect((await ask("/name")).status).toBe(500);
      expect((await ask("/object")).status).toBe(500);
      expect((await ask("/caught")).status).toBe(200);
      expect(app.store.only).toMatchObject({ n: 1 });
    });

    it("has _session in place of an age until the browser is closed", async () => {
      const app = application({ maxAge: "session" }, { "/count": count });
      const ask = await visit(app);
      const { set } = await ask("/count");

      expect(app.store.only).toEqual({ n: 1, _session: true });
      expect(app.store.calls.at(-1)?.args[0]).toBe("session");
      expect(set.join()).not.toContain("expires");
      expect((await ask("/count")).body).toBe("2");
    });

    it("is a day where no age is given, and the cookie ends with the browser", async () => {
      const app = application({}, { "/count": count });
      const { set } = await (await visit(app))("/count");

      expect(app.store.only._maxAge).toBe(86_400_000);
      expect(app.store.calls.at(-1)?.args[0]).toBe(86_410_000);
      expect(set.join()).not.toContain("expires");
    });

    it("what koa-session stored under its signed cookie is found", async () => {
      const app = application({}, {});
      app.store.stored.set(
        "old-id",
        JSON.stringify({ user: "ann", _expire: Date.now() + 1000, _maxAge: 5000 }),
      );
      const { default: Keygrip } = await import("keygrip");
      const ask = visitor(await start(app), [
        ["koa.sess", "old-id"],
        ["koa.sess.sig", new Keygrip(["a", "b"]).sign("koa.sess=old-id")],
      ]);

      expect((await ask("/read")).body).toBe('{"user":"ann"}');
    });
  });

  describe("a request", () => {
    it("without a session costs the store nothing, and sets no cookie", async () => {
      const app = application({}, { "/look": (ctx) => String(ctx.session!.isNew) });
      const ask = await visit(app);

      expect(await ask("/look")).toMatchObject({ body: "true", set: [] });
      expect(app.store.calls).toEqual([]);
    });

    it("that changes nothing writes nothing, and sets no cookie", async () => {
      const app = application({}, { "/count": count });
      const ask = await visit(app);
      await ask("/count");
      app.store.calls.length = 0;

      expect((await ask("/read")).set).toEqual([]);
      expect(app.store.calls.map(({ method }) => method)).toEqual(["get"]);
    });

    it("with a forged cookie asks the store nothing", async () => {
      const app = application({}, { "/count": count });
      const ask = visitor(await start(app), [
        ["koa.sess", "any"],
        ["koa.sess.sig", "forged"],
      ]);

      expect((await ask("/read")).body).toBe("{}");
      expect(app.store.calls).toEqual([]);
    });

    it("with several cookies of the name has the session of the first whose signature holds", async () => {
      const app = application({}, { "/count": count });
      const ask = await visit(app);
      await ask("/count");
      const [own, sig] = ["koa.sess", "koa.sess.sig"].map((name) => `${name}=${ask.cookies.get(name)}`);
      ask.cookies.clear();
      const read = async (cookie: string) => (await ask("/read", { cookie })).body;

      expect(await read(`koa.sess=forged; ${own}; koa.sess.sig=wrong; ${sig}`)).toBe('{"n":1}');
      expect(await read(`koa.sess=forged; ${own}; ${sig}`)).toBe('{"n":1}');
      expect(await read(`${own}; koa.sess=forged; koa.sess.sig=wrong; ${sig}`)).toBe('{"n":1}');
      expect(await read("koa.sess=forged; koa.sess=other; koa.sess.sig=wrong")).toBe("{}");
    });

    it("is answered once the store has the session", async () => {
      const app = application({}, { "/count": count });
      let open = () => {};
      app.store.gate = new Promise((resolve) => {
        open = resolve;
      });
      const ask = await visit(app);
      const events: string[] = [];

      const answer = ask("/count").then(() => events.push("answered"));
      while (app.store.calls.length === 0) await new Promise((resolve) => setImmediate(resolve));
      events.push("asked");
      open();
      await answer;

      expect(events).toEqual(["asked", "answered"]);
    });

    it("gets its answer and its cookies where the handler throws", async () => {
      const app = application(
        {},
        {
          "/throw": (ctx) => {
            count(ctx);
            throw new Error("boom");
          },
          "/count": count,
        },
      );
      const ask = await visit(app);

      const { status, set } = await ask("/throw");

      expect([status, namesOf(set)]).toEqual([500, ["koa.sess", "koa.sess.sig"]]);
      expect((await ask("/count")).body).toBe("2");
    });

    it("that sets a cookie is kept out of caches", async () => {
      const ask = await visit(application({}, { "/count": count }));

      expect((await ask("/count")).headers.get("cache-control")).toBe("no-store");
      expect((await ask("/read")).headers.get("cache-control")).toBeNull();
    });

    it("with ctx.respond = false is saved as it answers", async () => {
      const ask = await visit(
        application(
          {},
          {
            "/raw": (ctx) => {
              ctx.respond = false;
              setImmediate(() => {
                count(ctx);
                ctx.res.end("raw");
              });
            },
            "/count": count,
          },
        ),
      );

      const { body, set } = await ask("/raw");

      expect([body, namesOf(set)]).toEqual(["raw", ["koa.sess", "koa.sess.sig"]]);
      expect((await ask("/count")).body).toBe("2");
    });

    it("does not bring back what another ended meanwhile, nor what it ended itself", async () => {
      let open = () => {};
      const gate = new Promise<void>((resolve) => {
        open = resolve;
      });
      let enter = () => {};
      const entered = new Promise<void>((resolve) => {
        enter = resolve;
      });
      const app = application(
        {},
        {
          "/count": count,
          "/leave": (ctx) => {
            ctx.session = null;
          },
          "/slow": async (ctx) => {
            enter();
            await gate;
            if (ctx.query.renew) await ctx.session!.regenerate();
            count(ctx);
          },
          "/again": async (ctx) => {
            await ctx.session!.destroy();
            Reflect.set(ctx, "session", { user: "bob" });
          },
        },
      );
      const ask = await visit(app);
      await ask("/count");
      const other = visitor(await start(app), ask.cookies);

      const renewing = visitor(await start(app), ask.cookies);
      const slow = other("/slow");
      await entered;
      const renewed = renewing("/slow?renew=1");
      while (app.store.calls.filter(({ method }) => method === "get").length < 2)
        await new Promise((resolve) => setImmediate(resolve));
      await ask("/leave");
      open();

      expect((await slow).set).toEqual([]);
      await renewed;
      expect((await renewing("/read")).body, "it begins anew").toBe('{"n":1}');
      app.store.stored.clear();
      await other("/count");
      const [second] = app.store.stored.keys();
      await other("/again");
      expect([...app.store.stored.keys()]).not.toContain(second);
      expect((await other("/read")).body).toBe('{"user":"bob"}');
    });

    it("cannot tell its client of an id once the response has begun", async () => {
      const codes: unknown[] = [];
      const app = application(
        {},
        {
          "/late": async (ctx) => {
            ctx.respond = false;
            await new Promise((resolve) => ctx.res.write("a", resolve));
            ctx.session!.n = 1;
            for (const late of [ctx.session!.save(), ctx.session!.regenerate()])
              await late.catch((error) => codes.push(error.code));
            ctx.res.end("b");
          },
          "/renew-late": async (ctx) => {
            ctx.respond = false;
            await new Promise((resolve) => ctx.res.write("a", resolve));
            await ctx.session!.regenerate().catch((error) => codes.push(error.code));
            ctx.res.end("b");
          },
          "/count": count,
        },
      );

      await expect((await visit(app))("/late")).rejects.toThrow(); // it is cut off

      expect(codes).toEqual(["MSM_ERR_HEADERS_SENT", "MSM_ERR_HEADERS_SENT"]);
      expect(app.store.stored.size).toBe(0);
      const known = await visit(app);
      await known("/count");
      await known("/renew-late");
      expect(codes).toHaveLength(3);
      expect((await known("/count")).body).toBe("2");
    });

    it("is told where a store fails, with 503 and what the store threw", async () => {
      const app = application({}, { "/count": count });
      const errors: unknown[] = [];
      app.on("error", (error) => errors.push([error.code, error.cause]));
      const ask = await visit(app);
      app.store.failure = new Error("ECONNREFUSED");

      expect(await ask("/count")).toMatchObject({ status: 503, set: [] });
      ask.cookies.clear();
      app.store.failure = undefined;
      await ask("/count");
      app.store.failure = new Error("ECONNREFUSED");
      expect(await ask("/read")).toMatchObject({ status: 503, set: [] });

      const error = ["MSM_ERR_STORAGE_UNAVAILABLE", expect.objectContaining({ message: "ECONNREFUSED" })];
      expect(errors).toEqual([error, error]);
      app.store.failure = undefined;
      expect((await ask("/count")).body).toBe("2");
    });

    it("fails where the id that it had before could not be ended", async () => {
      const app = application(
        {},
        {
          "/count": count,
          "/renew": (ctx) => {
            const { destroy } = app.store;
            app.store.destroy = () => Promise.reject(new Error("away"));
            closeLater(() => {
              app.store.destroy = destroy;
            });
            void ctx.session!.regenerate();
          },
        },
      );
      const ask = await visit(app);
      await ask("/count");

      expect(await ask("/renew")).toMatchObject({ status: 503, set: [] });
    });

    it("does not wait for ever for a store that does not answer", async () => {
      const app = application({ storeTimeoutMs: 1 }, { "/count": count });
      const codes: unknown[] = [];
      app.on("error", ({ code }) => codes.push(code));
      app.store.gate = new Promise(() => {});

      expect((await (await visit(app))("/count")).status).toBe(503);
      expect(codes).toEqual(["MSM_ERR_STORAGE_TIMEOUT"]);
    });

    it("fails where app.keys are missing, as in koa-session", async () => {
      const app = application({}, { "/count": count });
      Reflect.deleteProperty(app, "keys");
      const ask = await visit(app);

      expect((await ask("/count")).status).toBe(500);
      expect((await ask("/read")).status).toBe(200);
    });
  });

  describe("ctx.session", () => {
    it("has koa-session's members", async () => {
      const seen: unknown[] = [];
      const ask = await visit(
        application(
          {},
          {
            "/": (ctx) => {
              const session = ctx.session!;
              session.foo = "bar";
              session._private = 1;
              seen.push(session.length, session.populated, inspect(session), JSON.stringify(session));
              seen.push(session.isNew, typeof session.externalKey, session.isLocked);
            },
          },
        ),
      );

      await ask("/");

      expect(seen).toEqual([1, true, "{ foo: 'bar' }", '{"foo":"bar"}', true, "string", false]);
    });

    it("set to null destroys the session, and clears both cookies", async () => {
      const app = application(
        {},
        {
          "/count": count,
          "/leave": (ctx) => {
            ctx.session = null;
            return String(ctx.session);
          },
        },
      );
      const ask = await visit(app);
      await ask("/count");

      const { body, set } = await ask("/leave");

      expect([body, ask.cookies.size, app.store.stored.size]).toEqual(["null", 0, 0]);
      expect(app.store.calls.filter(({ method }) => method === "destroy")).toHaveLength(1);
      expect(set.every((header) => header.includes("expires=Thu, 01 Jan 1970"))).toBe(true);
    });

    it("set to an object has its values under the same id; set to anything else it throws", async () => {
      const app = application(
        {},
        {
          "/count": count,
          "/replace": (ctx) => {
            Reflect.set(ctx, "session", { user: "ann", maxAge: 1000 });
          },
          "/text": (ctx) => Reflect.set(ctx, "session", "text"),
        },
      );
      const ask = await visit(app);
      await ask("/count");
      const [before] = app.store.stored.keys();

      await ask("/replace");

      expect([...app.store.stored.keys()]).toEqual([before]);
      expect(app.store.only).toMatchObject({ user: "ann", _maxAge: 1000 });
      expect((await ask("/text")).status).toBe(500);
    });

    it("maxAge is remembered by the session, and saves it though nothing else changed", async () => {
      const app = application(
        {},
        {
          "/set": (ctx) => {
            ctx.session!.maxAge = 5000;
          },
          "/age": (ctx) => String(ctx.session!.maxAge),
        },
      );
      const ask = await visit(app);

      expect((await ask("/set")).set[0]).toContain("expires=");
      expect(app.store.only._maxAge).toBe(5000);
      expect((await ask("/age")).body).toBe("5000");
    });

    it("save() stores also what is empty; regenerate() gives another id and keeps the values, or some of them", async () => {
      const app = application(
        {},
        {
          "/save": (ctx) => ctx.session!.save(),
          "/fill": (ctx) => Object.assign(ctx.session!, { user: "ann", cart: "book" }) && "",
          "/all": (ctx) => new Promise((resolve) => ctx.session!.regenerate(() => resolve(undefined))),
          "/some": (ctx) => ctx.session!.regenerate({ keep: ["user"] }),
          "/none": (ctx) => ctx.session!.regenerate({ keep: false }),
        },
      );
      const ask = await visit(app);

      expect((await ask("/save")).set).toHaveLength(2);
      const [empty] = app.store.stored.keys();
      await ask("/fill");
      await ask("/all");
      expect(app.store.stored.has(empty!)).toBe(false);
      expect((await ask("/read")).body).toBe('{"user":"ann","cart":"book"}');
      await ask("/some");
      expect((await ask("/read")).body).toBe('{"user":"ann"}');
      await ask("/none");
      expect((await ask("/read")).body).toBe("{}");
      expect(app.store.stored.size).toBe(1);
    });

    it("destroy() ends it at once; a lock cannot be had", async () => {
      const app = application(
        {},
        {
          "/count": count,
          "/leave": async (ctx) => {
            await expect(ctx.session!.lock()).rejects.toThrow("cannot be locked");
            await ctx.session!.destroy();
            return `${ctx.session} ${app.store.stored.size}`;
          },
        },
      );
      const ask = await visit(app);
      await ask("/count");

      expect((await ask("/leave")).body).toBe("null 0");
    });
  });

  describe("options", () => {
    it("autoCommit: false saves by manuallyCommit() alone, and once", async () => {
      const app = application(
        { autoCommit: false },
        {
          "/without": count,
          "/with": async (ctx) => {
            count(ctx);
            await ctx.session!.manuallyCommit();
            await ctx.session!.manuallyCommit();
          },
        },
      );
      const ask = await visit(app);

      expect((await ask("/without")).set).toEqual([]);
      expect((await ask("/with")).set).toHaveLength(2);
      expect(app.store.calls.map(({ method }) => method)).toEqual(["set"]);
    });

    it("with autoCommit, what was committed by hand is not saved again", async () => {
      const app = application(
        {},
        {
          "/": async (ctx) => {
            count(ctx);
            await ctx.session!.manuallyCommit();
          },
        },
      );
      await (await visit(app))("/");

      expect(app.store.calls.map(({ method }) => method)).toEqual(["set"]);
    });

    it("rolling saves and sends with each response, once", async () => {
      const app = application({ rolling: true }, { "/count": count });
      const ask = await visit(app);
      await ask("/read");
      await ask("/count");
      app.store.calls.length = 0;

      expect((await ask("/read")).set).toHaveLength(2);
      expect(app.store.calls.map(({ method }) => method)).toEqual(["get", "set"]);
      expect(app.store.calls.at(-1)?.args[1]).toMatchObject({ changed: false, rolling: true });
    });

    it("renew does so once less than half of the age is left", async () => {
      const turn = turnableClock();
      const ask = await visit(application({ renew: true, maxAge: 2000 }, { "/count": count }));
      await ask("/count");

      turn(500);
      expect((await ask("/read")).set).toEqual([]);
      turn(700);
      expect((await ask("/read")).set).toHaveLength(2);
    });

    it("absoluteTimeoutMs ends a session however busy it is", async () => {
      const turn = turnableClock();
      const app = application({ absoluteTimeoutMs: 10_000 }, { "/count": count });
      const expired: unknown[] = [];
      app.on("session:expired", ({ value }) => expired.push(value.n));
      const ask = await visit(app);
      await ask("/count");

      turn(6000);
      expect((await ask("/count")).body).toBe("2");
      turn(6000);
      expect((await ask("/count")).body).toBe("1");
      expect(expired).toEqual([2]);
    });

    it("prefix and genid make ids, externalKey carries them, valid refuses and beforeSave changes", async () => {
      const events: unknown[] = [];
      const app = application(
        {
          prefix: "unused:",
          genid: (ctx) => `sess-${ctx.path.slice(1)}-${Math.random()}`,
          externalKey: { get: (ctx) => ctx.get("Token"), set: (ctx, id) => ctx.set("Token", id) },
          valid: (ctx, data) => ctx.get("uid") === data.uid,
          beforeSave: (ctx, session) => {
            session.uid = ctx.get("uid");
          },
        },
        { "/count": count },
      );
      app.on("session:invalid", ({ key, value }) => events.push([key, value.uid]));
      app.on("session:missed", ({ key }) => events.push(key));
      const ask = await visit(app);

      const first = await ask("/count", { uid: "1" });
      const Token = first.headers.get("token")!;

      expect([first.set, Token.startsWith("sess-count-")]).toEqual([[], true]);
      expect((await ask("/count", { Token, uid: "1" })).body).toBe("2");
      const other = await ask("/count", { Token, uid: "2" });
      expect([other.body, other.headers.get("token") === Token]).toEqual(["1", false]);
      await ask("/read", { Token: "gone" });
      expect(events).toEqual([[Token, "1"], "gone"]);
      const prefixed = await (await visit(application({ prefix: "sess:" }, { "/count": count })))("/count");
      expect(prefixed.set[0]).toMatch(/^koa\.sess=sess:/);
    });

    it("what has expired is not used, whatever the store thinks", async () => {
      const turn = turnableClock();
      const app = application({ maxAge: 1000 }, { "/count": count });
      const events: unknown[] = [];
      app.on("session:expired", ({ key, value, ctx }) => events.push([typeof key, value.n, ctx.path]));
      const ask = await visit(app);
      await ask("/count");
      turn(1500);

      expect((await ask("/count")).body).toBe("1");
      expect(events).toEqual([["string", 1, "/count"]]);
    });

    it("a ContextStore is made for each request, with its context", async () => {
      const memory = new MemoryStore();
      const paths: string[] = [];
      class Store extends MemoryStore {
        constructor(ctx: Context) {
          super();
          paths.push(ctx.path);
        }
        override get(id: string) {
          return memory.get(id);
        }
        override set(id: string, data: StoredData) {
          return memory.set(id, data);
        }
      }
      const ask = await visit(application({ ContextStore: Store }, { "/count": count }));

      await ask("/count");
      expect((await ask("/count")).body).toBe("2");
      expect(paths).toEqual(["/count", "/count"]);
    });

    it("the cookie's are koa's: key, domain, path, sameSite, httpOnly, signed, priority", async () => {
      const options = {
        key: "mine",
        path: "/a",
        domain: "example.org",
        sameSite: "lax",
        httpOnly: false,
      } as const;
      const ask = await visit(application({ ...options, signed: false, priority: "high" }, { "/a": count }));

      expect((await ask("/a")).set).toEqual([
        expect.stringMatching(/^mine=[^;]+; path=\/a; domain=example\.org; priority=high; samesite=lax$/),
      ]);
    });
  });
});
