import { inspect } from "node:util";
import { MsmError, type SessionManager } from "@msm/core";
import { type NodesOptions, session } from "@msm/koa";
import type Koa from "koa";
import type { Context, Middleware } from "koa";
import { describe, expect, it } from "vitest";
import { closeLater, newManager, secret, start, versions, visit } from "./running.js";
import { visitor } from "./visitor.js";

describe.each(versions)("sessions on nodes, %s", (_version, Koa) => {
  /** An application whose routes are named by paths; `/read` answers what is in the session. */
  function application(options: NodesOptions, routes: Record<string, (ctx: Context) => unknown>) {
    const app = new Koa();
    const sessions = session({ ...(options.manager ? {} : { secret }), ...options } as NodesOptions, app);
    closeLater(() => sessions.manager.close());
    app.use(sessions);
    app.use(async (ctx) => {
      if (ctx.path === "/read") ctx.body = ctx.session;
      const answer = await routes[ctx.path]?.(ctx);
      if (ctx.respond !== false) ctx.body = answer ?? ctx.body ?? "done";
    });
    return Object.assign(app, { sessions });
  }
  const count = (ctx: Context) => {
    ctx.session!.n = (ctx.session!.n ?? 0) + 1;
    return String(ctx.session!.n);
  };
  const read = async (ask: Awaited<ReturnType<typeof visit>>) => JSON.parse((await ask("/read")).body);

  describe("session(options, app)", () => {
    it("takes its arguments in either order, and the application alone", async () => {
      for (const make of [
        (app: Koa) => session({ secret }, app),
        (app: Koa) => session(app, { secret }),
        (app: Koa) => session(app),
      ]) {
        const app = new Koa();
        app.keys = ["the application's own key, 32 bytes and more"];
        const sessions = make(app);
        closeLater(() => sessions.manager.close());
        app.use(sessions).use((ctx) => {
          ctx.body = count(ctx);
        });
        const ask = await visit(app);

        expect((await ask("/")).body).toBe("1");
        expect((await ask("/")).body).toBe("2");
      }
    });

    it("keeps sessions in this process' memory, never in the cookie, where no nodes are named", async () => {
      const ask = await visit(
        application(
          {},
          { "/fill": (ctx) => Object.assign(ctx.session!, { text: "much ".repeat(2000) }) && "" },
        ),
      );

      const { set } = await ask("/fill");

      expect(set).toHaveLength(1);
      expect(set[0]).toMatch(/^koa\.sess=[0-9a-f]{48}-n1-[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax$/);
      expect((await read(ask)).text).toHaveLength(10_000);
    });

    it("mounted twice opens the session once", async () => {
      const app = new Koa();
      const manager = newManager();
      let opened = 0;
      const counted: SessionManager = {
        ...manager,
        open(request) {
          opened++;
          return manager.open(request);
        },
      };
      app.use(session({ manager: counted }, app)).use(session({ manager: counted }, app));
      app.use((ctx) => {
        ctx.body = count(ctx);
      });

      const ask = await visit(app);

      expect([(await ask("/")).set.length, (await ask("/")).body]).toEqual([1, "2"]);
      expect(opened).toBe(2);
    });

    it("serves an application that is mounted in another one", async () => {
      const [outer, inner] = [new Koa(), new Koa()];
      outer.use(session({ manager: newManager() }, inner));
      outer.use((ctx) => {
        ctx.body = count(ctx);
      });
      const ask = await visit(outer);
      await ask("/");

      expect((await ask("/")).body).toBe("2");
    });

    it("verifies cookies by any of app.keys, and signs by the first", async () => {
      const keys = ["the application's first key, 32 bytes", "the application's second key, 32 bytes"];
      const started = (own: string[]) => {
        const app = new Koa();
        app.keys = own;
        const sessions = session(app, { nodes: [{ id: "n1", storage }] });
        closeLater(() => sessions.manager.close());
        return app.use(sessions).use((ctx) => {
          ctx.body = count(ctx);
        });
      };
      const { memoryStorage } = await import("@msm/core");
      const storage = memoryStorage();
      const before = await visit(started(keys.slice(1)));
      await before("/");
      const after = visitor(await start(started(keys)), before.cookies);
      const stranger = visitor(
        await start(started(["a key that nobody knows, 32 bytes and more"])),
        before.cookies,
      );

      expect((await after("/")).body).toBe("2");
      expect((await stranger("/")).body).toBe("1");
    });
  });

  describe("ctx.session", () => {
    it("is new once, and then has what was put into it", async () => {
      const ask = await visit(
        application(
          {},
          {
            "/look": (ctx) => {
              const { isNew, length, populated } = ctx.session!;
              return JSON.stringify({ isNew, length, populated });
            },
            "/count": count,
          },
        ),
      );

      expect((await ask("/look")).body).toBe('{"isNew":true,"length":0,"populated":false}');
      await ask("/count");
      expect((await ask("/look")).body).toBe('{"isNew":false,"length":1,"populated":true}');
    });

    it("shows its values and nothing else: as JSON, in a loop, printed, and to hasOwnProperty()", async () => {
      const seen: unknown[] = [];
      const ask = await visit(
        application(
          {},
          {
            "/": (ctx) => {
              ctx.session!.user = "ann";
              ctx.session!.maxAge = 60_000;
              const session = ctx.session!;
              const inLoop = [];
              for (const name in session) inLoop.push(name);
              seen.push(Object.keys(session), inLoop, JSON.stringify(session), inspect(session));
              seen.push(Object.hasOwn(session, "user"), { ...session }, "user" in session);
            },
          },
        ),
      );

      await ask("/");

      expect(seen).toEqual([
        ["user"],
        ["user"],
        '{"user":"ann"}',
        "{ user: 'ann' }",
        true,
        { user: "ann" },
        true,
      ]);
    });

    it("set to null ends the session, and clears the cookie; it is null from then on", async () => {
      const ask = await visit(
        application(
          {},
          {
            "/count": count,
            "/leave": (ctx) => {
              ctx.session!.n = 7;
              ctx.session = null;
              return String(ctx.session);
            },
          },
        ),
      );
      await ask("/count");
      const before = new Map(ask.cookies);

      const { body, set } = await ask("/leave");

      expect([body, ask.cookies.size]).toEqual(["null", 0]);
      expect(set).toEqual([expect.stringMatching(/^koa\.sess=; Max-Age=0/)]);
      for (const [name, value] of before) ask.cookies.set(name, value);
      expect(await read(ask)).toEqual({});
    });

    it("set to null where there was none asks no node, and clears the cookie of one that is gone", async () => {
      const app = application(
        {},
        {
          "/count": count,
          "/leave": (ctx) => {
            ctx.session!.n = 1;
            ctx.session = null;
          },
        },
      );
      let ended = 0;
      app.sessions.manager.on("destroyed", () => ended++);
      const ask = await visit(app);

      expect(await ask("/leave")).toMatchObject({ status: 200, set: [] });
      expect(ended).toBe(0);
      await ask("/count");
      const gone = new Map(ask.cookies);
      await ask("/leave");
      for (const [name, value] of gone) ask.cookies.set(name, value);
      expect((await ask("/leave")).set).toEqual([expect.stringMatching(/^koa\.sess=; Max-Age=0/)]);
    });

    it("set to an object has that object's values, under the same id", async () => {
      const ids: unknown[] = [];
      const ask = await visit(
        application(
          {},
          {
            "/count": (ctx) => ids.push(ctx.session!.externalKey) && count(ctx),
            "/replace": (ctx) => {
              ids.push(ctx.session!.externalKey);
              Reflect.set(ctx, "session", { user: "ann", maxAge: 3_600_000 });
              return String(ctx.session?.isNew);
            },
            "/empty": (ctx) => {
              Reflect.set(ctx, "session", {});
            },
          },
        ),
      );
      await ask("/count");

      const replaced = await ask("/replace");

      expect(replaced.body).toBe("false");
      expect(replaced.set[0]).toContain("Max-Age=3600;");
      expect(await read(ask)).toEqual({ user: "ann" });
      expect(ids[0]).toBe(ids[1]);
      await ask("/empty");
      expect(await read(ask)).toEqual({});
    });

    it("set to null and then to an object goes on", async () => {
      const ask = await visit(
        application(
          {},
          {
            "/count": count,
            "/both": (ctx) => {
              ctx.session = null;
              Reflect.set(ctx, "session", { user: "ann" });
            },
          },
        ),
      );
      await ask("/count");
      await ask("/both");

      expect(await read(ask)).toEqual({ user: "ann" });
    });

    it("set to anything else throws", async () => {
      const ask = await visit(
        application(
          {},
          { "/": (ctx) => Reflect.set(ctx, "session", ctx.query.undefined ? undefined : "text") },
        ),
      );

      expect((await ask("/")).status).toBe(500);
      expect((await ask("/?undefined=1")).status).toBe(500);
    });

    it("before the middleware is empty and new, and nothing of it is kept", async () => {
      const app = new Koa();
      const seen: unknown[] = [];
      app.use(async (ctx, next) => {
        seen.push(ctx.session?.isNew, ctx.session?.externalKey, ctx.sessionOptions?.key);
        ctx.session!.early = true;
        await expect(ctx.session!.save()).rejects.toThrow("the session's middleware has not run");
        await next();
        seen.push(ctx.session!.n);
      });
      app.use(session({ manager: newManager() }, app));
      app.use((ctx) => {
        ctx.body = count(ctx);
      });

      const ask = await visit(app);

      expect((await ask("/")).body).toBe("1");
      expect(seen).toEqual([true, undefined, "sid", 1]);
    });

    it("can be replaced by tests of the application", async () => {
      const app = new Koa();
      app.use(session({ manager: newManager() }, app));
      app.use((ctx) => {
        ctx.body = ctx.session;
      });
      Object.defineProperty(app.context, "session", { value: { foo: "bar" }, configurable: true });

      expect((await (await visit(app))("/")).body).toBe('{"foo":"bar"}');
    });

    it("keeps names that begin with _ to the request", async () => {
      const manager = newManager();
      const ask = await visit(
        application(
          { manager },
          {
            "/set": (ctx) => {
              Object.assign(ctx.session!, { _mine: 1, kept: 2 });
              return JSON.stringify([ctx.session!._mine, ctx.session]);
            },
            "/mine": (ctx) => String(ctx.session!._mine),
          },
        ),
      );

      expect((await ask("/set")).body).toBe('[1,{"kept":2}]');
      expect((await ask("/mine")).body).toBe("undefined");
    });

    it("lets an application have values named as members that koa-session does not have", async () => {
      const ask = await visit(
        application(
          {},
          {
            "/": (ctx) =>
              Object.assign(ctx.session!, { lock: "a", release: "b", destroy: "c", isLocked: "d" }) && "",
          },
        ),
      );
      await ask("/");

      expect(await read(ask)).toEqual({ lock: "a", release: "b", destroy: "c", isLocked: "d" });
    });

    it("refuses a value named `cookie`, under which all frameworks keep the cookie's age", async () => {
      const seen: unknown[] = [];
      const ask = await visit(
        application(
          {},
          {
            "/": (ctx) => {
              expect(() => Object.assign(ctx.session!, { cookie: "mine" })).toThrow(
                expect.objectContaining({ code: "MSM_ERR_ATTRIBUTE_NAME" }),
              );
              seen.push(ctx.session!.cookie);
            },
          },
        ),
      );

      expect((await ask("/")).status).toBe(200);
      expect(seen).toEqual([undefined]);
    });
  });

  describe("maxAge", () => {
    it("of the options is the cookie's age and the session's idle timeout", async () => {
      const manager: { is?: SessionManager } = {};
      const app = application(
        { maxAge: 3_600_000 },
        { "/count": count, "/age": (ctx) => String(ctx.session!.maxAge) },
      );
      manager.is = app.sessions.manager;
      const ask = await visit(app);

      const { set } = await ask("/count");

      expect(set[0]).toMatch(/Max-Age=3600; .*Expires=/);
      expect((await ask("/age")).body).toBe("3600000");
      const { id } = manager.is.tokens.read(`koa.sess=${ask.cookies.get("koa.sess")}`)!;
      expect(await manager.is.withSession(id, ({ idleTimeoutMs }) => idleTimeoutMs)).toBe(3_600_000);
      expect((await ask("/count")).set, "it is sent again with each change").toHaveLength(1);
      expect((await ask("/read")).set).toHaveLength(0);
    });

    it('"session", or left out, is a cookie until the browser is closed, and a day on the nodes', async () => {
      for (const options of [{ maxAge: "session" }, {}] as const) {
        const app = application(options, { "/count": count, "/age": (ctx) => String(ctx.session!.maxAge) });
        const ask = await visit(app);
        const { set } = await ask("/count");
        const { id } = app.sessions.manager.tokens.read(`koa.sess=${ask.cookies.get("koa.sess")}`)!;

        expect(set[0]).not.toMatch(/Max-Age|Expires/);
        expect((await ask("/age")).body).toBe(String(options.maxAge));
        expect(await app.sessions.manager.withSession(id, ({ idleTimeoutMs }) => idleTimeoutMs)).toBe(
          86_400_000,
        );
      }
    });

    it("set for a session is remembered by it, also where nothing else is in it", async () => {
      const app = application(
        { maxAge: 60_000 },
        {
          "/remember": (ctx) => {
            ctx.session!.maxAge = 7_200_000;
          },
          "/session": (ctx) => {
            ctx.session!.maxAge = "session";
          },
          "/options": (ctx) => {
            ctx.sessionOptions!.maxAge = 600_000;
          },
          "/usual": (ctx) => {
            ctx.session!.maxAge = undefined;
          },
          "/age": (ctx) =>
            `${ctx.session!.maxAge} ${ctx.sessionOptions!.maxAge} ${JSON.stringify(ctx.session)}`,
          "/count": count,
        },
      );
      const ask = await visit(app);

      expect((await ask("/remember")).set[0]).toContain("Max-Age=7200;");
      expect((await ask("/age")).body).toBe("7200000 7200000 {}");
      expect((await ask("/count")).set[0]).toContain("Max-Age=7200;");
      expect((await ask("/session")).set[0] ?? "").not.toMatch(/Max-Age/);
      expect((await ask("/age")).body).toBe('session session {"n":1}');
      expect((await ask("/options")).set[0]).toContain("Max-Age=600;");
      expect((await ask("/usual")).set[0]).toContain("Max-Age=60;");
      expect((await ask("/age")).body).toBe('60000 60000 {"n":1}');
    });

    it("of a session is its cookie's with each change, also where cookies usually last until the browser is closed", async () => {
      const routes = {
        "/remember": (ctx: Context) => {
          ctx.session!.maxAge = 7_200_000;
        },
        "/count": count,
      };
      const ask = await visit(application({}, routes));
      await ask("/remember");

      expect((await ask("/count")).set[0]).toContain("Max-Age=7200;");
      expect((await ask("/read")).set).toEqual([]);
    });

    it("of a session is refused where it is no time", async () => {
      const ask = await visit(
        application(
          {},
          { "/": (ctx) => Reflect.set(ctx.session!, "maxAge", ctx.query.age === "-1" ? -1 : "long") },
        ),
      );

      expect((await ask("/?age=-1")).status).toBe(500);
      expect((await ask("/")).status).toBe(500);
    });
  });

  describe("rolling and renew", () => {
    it("rolling sends the cookie of a stored session with each response", async () => {
      const ask = await visit(application({ rolling: true, maxAge: 60_000 }, { "/count": count }));

      expect((await ask("/read")).set).toHaveLength(0);
      await ask("/count");
      for (const _ of [1, 2]) expect((await ask("/read")).set[0]).toContain("Max-Age=60;");
    });

    it("renew sends it once less than half of its age is left", async () => {
      let now = Date.now();
      const realNow = Date.now;
      Date.now = () => now;
      closeLater(() => {
        Date.now = realNow;
      });
      const ask = await visit(application({ renew: true, maxAge: 3_600_000 }, { "/count": count }));
      await ask("/count");

      now += 1_700_000;
      expect((await ask("/read")).set).toHaveLength(0);
      now += 200_000;
      expect((await ask("/read")).set[0]).toContain("Max-Age=3600;");
      expect((await ask("/read")).set).toHaveLength(0);
      expect(await read(ask)).toEqual({ n: 1 });
    });
  });

  describe("saving", () => {
    it("save() stores also what is empty, and lets nothing of what follows be lost", async () => {
      const ask = await visit(
        application(
          {},
          {
            "/": (ctx) => {
              void ctx.session!.save();
              ctx.session!.after = true;
            },
            "/empty": (ctx) => ctx.session!.save(),
          },
        ),
      );

      expect((await ask("/empty")).set).toHaveLength(1);
      await ask("/");
      expect(await read(ask)).toEqual({ after: true });
    });

    it("takes callbacks in place of promises", async () => {
      const ask = await visit(
        application(
          {},
          {
            "/": async (ctx) => {
              ctx.session!.n = 1;
              const errors: unknown[] = [];
              await new Promise<void>((resolve) =>
                ctx.session!.save(((error: unknown) => resolve(void errors.push(error))) as () => void),
              );
              await new Promise<void>((resolve) => ctx.session!.regenerate(() => resolve()));
              await new Promise<void>((resolve) =>
                (ctx.session!.commit as (options: object, callback: () => void) => void)(
                  { save: true },
                  resolve,
                ),
              );
              return String(errors);
            },
          },
        ),
      );

      expect((await ask("/")).body).toBe("");
      expect(await read(ask)).toEqual({ n: 1 });
    });

    it("autoCommit: false saves by manuallyCommit() alone, once", async () => {
      const manager = newManager();
      const stored: string[] = [];
      manager.on("created", ({ session }) => stored.push(session));
      const ask = await visit(
        application(
          { manager, autoCommit: false },
          {
            "/without": count,
            "/with": async (ctx) => {
              count(ctx);
              await ctx.session!.manuallyCommit();
            },
            "/renew": (ctx) => ctx.session!.regenerate(),
          },
        ),
      );

      expect((await ask("/without")).set).toHaveLength(0);
      expect(stored).toHaveLength(0);
      expect((await ask("/with")).set).toHaveLength(1);
      await ask("/without");
      expect(await read(ask)).toEqual({ n: 1 });
      const before = [...ask.cookies.values()][0];
      await ask("/renew");
      expect(await read(ask)).toEqual({ n: 1 });
      expect([...ask.cookies.values()][0]).not.toBe(before);
    });

    it("beforeSave is called before a change is saved, and may change more; not where nothing is saved", async () => {
      const calls: string[] = [];
      const ask = await visit(
        application(
          {
            beforeSave(ctx, session) {
              calls.push(ctx.path);
              session.savedAt = calls.length;
            },
          },
          { "/count": count, "/save": (ctx) => ctx.session!.save() },
        ),
      );

      await ask("/count");
      await ask("/read");
      await ask("/save");

      expect(await read(ask)).toEqual({ n: 1, savedAt: 2 });
      expect(calls).toEqual(["/count", "/save"]);
    });

    it("an error of beforeSave is the request's", async () => {
      const app = application(
        {
          beforeSave() {
            throw new Error("not today");
          },
        },
        { "/count": count },
      );
      const errors: unknown[] = [];
      app.on("error", (error) => errors.push(error.message));
      const ask = await visit(app);

      expect((await ask("/count")).status).toBe(500);
      expect(errors).toEqual(["not today"]);
    });

    it("keeps the session and its cookie where a handler throws, and where another catches that", async () => {
      const app = new Koa();
      app.use(async (ctx, next) => {
        try {
          await next();
        } catch (error) {
          if (ctx.path !== "/caught") throw error;
          ctx.status = (error as { status: number }).status;
          ctx.body = "sorry";
        }
      });
      app.use(session({ manager: newManager() }, app));
      app.use((ctx) => {
        ctx.body = count(ctx);
        if (ctx.path !== "/fine") ctx.throw(401);
      });
      const ask = await visit(app);

      expect(await ask("/thrown")).toMatchObject({ status: 401, set: [expect.stringMatching(/^sid=/)] });
      expect(await ask("/caught")).toMatchObject({ status: 401, body: "sorry" });
      expect((await ask("/fine")).body).toBe("3");
    });

    it("keeps what a middleware around it changes after it", async () => {
      const app = new Koa();
      app.use(async (ctx, next) => {
        await next();
        if (ctx.path === "/") ctx.session!.late = true;
      });
      app.use(session({ manager: newManager() }, app));
      app.use((ctx) => {
        ctx.body = ctx.session;
      });
      const ask = await visit(app);

      expect((await ask("/")).set).toHaveLength(1);
      expect((await ask("/read")).body).toBe('{"late":true}');
    });

    it("works with ctx.respond = false, before the save and after the handler", async () => {
      const ask = await visit(
        application(
          {},
          {
            "/raw": (ctx) => {
              ctx.respond = false;
              setImmediate(() => {
                count(ctx);
                ctx.res.writeHead(200, { "Content-Type": "text/plain" }).end("raw");
              });
            },
          },
        ),
      );

      expect(await ask("/raw")).toMatchObject({
        status: 200,
        body: "raw",
        set: [expect.stringMatching(/^koa/)],
      });
      expect(await read(ask)).toEqual({ n: 1 });
    });
  });

  it("is the request's own until what it sends by itself has ended, where it is locked", async () => {
    let enter = () => {};
    let open = () => {};
    const entered = new Promise<void>((resolve) => {
      enter = resolve;
    });
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const app = application(
      { locking: "all", lockTimeoutMs: 60_000 },
      {
        "/count": count,
        "/raw": (ctx) => {
          ctx.respond = false;
          enter();
          void gate.then(() => {
            ctx.session!.n = (ctx.session!.n ?? 0) + 10;
            ctx.res.end("raw");
          });
        },
      },
    );
    const ask = await visit(app);
    await ask("/count");

    const raw = ask("/raw");
    await entered;
    const next = ask("/count");
    while (app.sessions.manager.stats().waitingRequests === 0)
      await new Promise((resolve) => setImmediate(resolve));
    open();

    await raw;
    expect((await next).body).toBe("12");
  });

  describe("a session that cannot be saved", () => {
    function failing(outer?: Middleware) {
      const manager = newManager();
      const app = new Koa();
      if (outer !== undefined) app.use(outer);
      app.use(
        session(
          {
            manager: {
              ...manager,
              async open(request) {
                const exchange = await manager.open(request);
                const error = new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "a fault of the test");
                return {
                  session: exchange.session,
                  cookie: () => exchange.cookie(),
                  end: () => exchange.end(),
                  commit: async () => ({ outcome: "failed", error }),
                };
              },
            },
          },
          app,
        ),
      );
      app.use((ctx) => {
        ctx.set("ETag", '"v1"');
        ctx.cookies.set("mine", "1");
        void ctx.session!.save(); // nobody holds its promise, and the process goes on
        ctx.body = { n: count(ctx) };
      });
      return app;
    }

    it("tells the middlewares around it, whose answer goes out", async () => {
      const ask = await visit(
        failing(async (ctx, next) => {
          ctx.set("X-Before", "1");
          try {
            await next();
          } catch (error) {
            ctx.status = (error as MsmError).status;
            ctx.body = `sorry: ${(error as MsmError).code}`;
          }
        }),
      );

      const answer = await ask("/");

      expect(answer).toMatchObject({ status: 503, body: "sorry: MSM_ERR_STORAGE_UNAVAILABLE", set: [] });
      expect(answer.headers.get("x-before")).toBe("1");
      expect(answer.headers.has("etag")).toBe(false);
    });

    it("is not answered as a success, though one of them catches the error and does nothing", async () => {
      const ask = await visit(failing((_ctx, next) => next().catch(() => {})));

      const answer = await ask("/");

      expect(answer).toMatchObject({ status: 503, body: "", set: [] });
    });
  });

  describe("regenerate()", () => {
    const routes = {
      "/count": count,
      "/all": (ctx: Context) => ctx.session!.regenerate(),
      "/none": (ctx: Context) => ctx.session!.regenerate({ keep: false }),
      "/some": (ctx: Context) => ctx.session!.regenerate({ keep: ["user"] }),
      "/fill": (ctx: Context) => {
        Object.assign(ctx.session!, { user: "ann", cart: ["book"] });
      },
    };

    it("gives another id and keeps the values, as koa-session does; the old id is worth nothing", async () => {
      const ask = await visit(application({}, routes));
      await ask("/fill");
      const before = new Map(ask.cookies);

      await ask("/all");

      expect(await read(ask)).toEqual({ user: "ann", cart: ["book"] });
      expect(ask.cookies.get("koa.sess")).not.toBe(before.get("koa.sess"));
      for (const [name, value] of before) ask.cookies.set(name, value);
      expect(await read(ask)).toEqual({});
    });

    it("keeps what `keep` names", async () => {
      const ask = await visit(application({}, routes));
      await ask("/fill");
      await ask("/some");
      expect(await read(ask)).toEqual({ user: "ann" });
      await ask("/none");
      expect(await read(ask)).toEqual({});
    });
  });

  describe("valid", () => {
    it("refuses a session: another begins, an event tells of it, and the first stays for whom it is valid", async () => {
      const app = application(
        {
          locking: "all",
          valid: (ctx, { uid }) => uid === ctx.get("uid"),
          beforeSave: (ctx, session) => {
            session.uid = ctx.get("uid");
          },
        },
        { "/count": count },
      );
      const events: unknown[] = [];
      app.on("session:invalid", ({ key, value, ctx }) => events.push([typeof key, value, ctx.path]));
      const ask = await visit(app);
      await ask("/count", { uid: "1" });
      const first = new Map(ask.cookies);

      expect((await ask("/count", { uid: "1" })).body).toBe("2");
      expect((await ask("/count", { uid: "2" })).body).toBe("1");
      for (const [name, value] of first) ask.cookies.set(name, value);
      expect((await ask("/count", { uid: "1" })).body).toBe("3");
      expect(events).toEqual([["string", { n: 2, uid: "1" }, "/count"]]);
    });

    it("that throws fails the request, and frees its session", async () => {
      const app = application(
        {
          locking: "all",
          valid: (ctx) => {
            if (ctx.path === "/throw") throw new Error("boom");
            return true;
          },
        },
        { "/count": count },
      );
      const ask = await visit(app);
      await ask("/count");

      expect((await ask("/throw")).status).toBe(500);
      expect((await ask("/count")).body).toBe("2");
    });
  });

  it("session:missed tells of a client whose session is gone, not of one with a forged cookie", async () => {
    const app = application({}, { "/count": count, "/leave": (ctx) => ctx.session!.destroy() });
    const events: unknown[] = [];
    app.on("session:missed", ({ key, value }) => events.push([key, value]));
    const ask = await visit(app);
    await ask("/count");
    const before = ask.cookies.get("koa.sess")!;
    await ask("/leave");

    ask.cookies.set("koa.sess", before);
    await ask("/read");
    ask.cookies.set("koa.sess", `${before}x`);
    await ask("/read");

    expect(events).toEqual([[before.slice(0, 48), undefined]]);
  });

  describe("ids", () => {
    it("are made by genid, or begin with prefix", async () => {
      let made = 0;
      const own = await visit(
        application(
          { genid: (ctx) => `own-${ctx.path.slice(1)}-${++made}`, prefix: "unused" },
          { "/count": count },
        ),
      );
      const prefixed = await visit(application({ prefix: "sess:" }, { "/count": count }));

      expect((await own("/count")).set[0]).toMatch(/^koa\.sess=own-count-1-n1-/);
      expect((await own("/count")).body).toBe("2");
      expect((await prefixed("/count")).set[0]).toMatch(/^koa\.sess=sess:[0-9a-f-]{36}-n1-/);
      expect((await prefixed("/count")).body).toBe("2");
    });

    it("travel as externalKey says", async () => {
      const app = application(
        { externalKey: { get: (ctx) => ctx.get("Token"), set: (ctx, id) => ctx.set("Token", id) } },
        {
          "/count": (ctx) => `${count(ctx)} ${ctx.session!.externalKey}`,
          "/leave": (ctx) => ctx.session!.destroy(),
        },
      );
      const ask = await visit(app);

      const first = await ask("/count");
      const Token = first.headers.get("token")!;
      const second = await ask("/count", { Token });

      expect(first.set).toEqual([]);
      expect(first.body).toBe(`1 ${Token}`);
      expect(second.body).toBe(`2 ${Token}`);
      expect((await ask("/leave", { Token })).set).toEqual([]);
      expect((await ask("/count", { Token })).body).toMatch(/^1 /);
    });
  });

  it("shares sessions with other frameworks under one cookie, whose age is no value of the session", async () => {
    const manager = newManager();
    const exchange = await manager.open({ method: "GET", url: "/", cookieHeader: undefined, secure: false });
    // As @msm/express and @msm/fastify leave it.
    Object.assign(exchange.session!.attributes, { user: "ann", cookie: { originalMaxAge: 3_600_000 } });
    await exchange.commit();
    const cookie = exchange.cookie()!.split(";")[0]!;
    await exchange.end();
    const ask = await visit(
      application({ manager }, { "/age": (ctx) => `${ctx.session!.maxAge} ${Object.keys(ctx.session!)}` }),
    );
    ask.cookies.set("sid", cookie.slice(4));

    expect((await ask("/age")).body).toBe("3600000 user");
    expect(await read(ask)).toEqual({ user: "ann" });
  });

  it("a session without storage is null, and takes no values", async () => {
    const manager = newManager();
    const seen: unknown[] = [];
    const ask = await visit(
      application(
        {
          manager: {
            ...manager,
            async open(request) {
              const exchange = await manager.open(request);
              const unneeded = { outcome: "unneeded" } as const;
              return {
                session: undefined,
                cookie: () => undefined,
                commit: async () => unneeded,
                end: () => exchange.end(),
              };
            },
          },
        },
        {
          "/": (ctx) => {
            seen.push(ctx.session);
            ctx.session = null;
            expect(() => Reflect.set(ctx, "session", {})).toThrow("storage cannot be reached");
          },
        },
      ),
    );

    expect((await ask("/")).status).toBe(200);
    expect(seen).toEqual([null]);
  });

  it("destroy() ends the session at once; another can be had by regenerate() instead", async () => {
    const ask = await visit(
      application(
        {},
        {
          "/count": count,
          "/leave": async (ctx) => {
            const former = ctx.session!;
            await former.destroy();
            expect(ctx.session).toBeNull();
            expect(() => Reflect.set(ctx, "session", { n: 1 })).toThrow(
              expect.objectContaining({ code: "MSM_ERR_SESSION_DESTROYED" }),
            );
          },
        },
      ),
    );
    await ask("/count");

    const { status, set } = await ask("/leave");

    expect([status, ask.cookies.size]).toEqual([200, 0]);
    expect(set[0]).toMatch(/Max-Age=0/);
  });
});
