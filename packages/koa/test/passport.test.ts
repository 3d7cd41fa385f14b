import { type SessionOptions, session } from "@msm/koa";
import { KoaPassport } from "koa-passport";
import { describe, expect, it } from "vitest";
import { MemoryStore } from "./memory-store.js";
import { newManager, versions, visit } from "./running.js";

const ways: Record<string, () => SessionOptions> = {
  "on nodes": () => ({ manager: newManager() }),
  "in a store": () => ({ store: new MemoryStore() }),
};

describe.each(versions)("koa-passport, %s", (_version, Koa) => {
  describe.each(Object.entries(ways))("with sessions %s", (_way, options) => {
    function application() {
      const passport = new KoaPassport();
      passport.serializeUser((user, done) => done(null, (user as { name: string }).name));
      passport.deserializeUser((name, done) => done(null, { name }));
      const app = new Koa();
      app.keys = ["a"];
      app.use(session(options(), app)).use(passport.initialize()).use(passport.session());
      app.use(async (ctx) => {
        if (ctx.path === "/fill") ctx.session!.cart = ["book"];
        if (ctx.path === "/login") await ctx.login({ name: "ann" });
        if (ctx.path === "/login-keeping")
          await ctx.login({ name: "ann" }, { keepSessionInfo: true } as never);
        if (ctx.path === "/logout") await ctx.logout();
        ctx.body = { user: ctx.state.user ?? null, cart: ctx.session?.cart ?? null };
      });
      return app;
    }
    const who = async (ask: Awaited<ReturnType<typeof visit>>) => JSON.parse((await ask("/who")).body);
    const idOf = (ask: Awaited<ReturnType<typeof visit>>) => [...ask.cookies.values()][0];

    it("logs in under another id, stays logged in, and logs out", async () => {
      const ask = await visit(application());
      await ask("/fill");
      const before = idOf(ask);

      await ask("/login");
      expect(await who(ask)).toMatchObject({ user: { name: "ann" } });
      const during = idOf(ask);
      expect(during).not.toBe(before);

      await ask("/logout");
      expect(await who(ask)).toMatchObject({ user: null });
      expect(idOf(ask)).not.toBe(during);
    });

    it("keeps what was in the session, as with koa-session", async () => {
      for (const path of ["/login", "/login-keeping"]) {
        const ask = await visit(application());
        await ask("/fill");
        await ask(path);

        expect(await who(ask)).toEqual({ user: { name: "ann" }, cart: ["book"] });
      }
    });

    it("gives nothing to who kept the id from before", async () => {
      const ask = await visit(application());
      await ask("/fill");
      const planted = new Map(ask.cookies);
      await ask("/login");
      ask.cookies.clear();
      for (const [name, value] of planted) ask.cookies.set(name, value);

      expect(await who(ask)).toEqual({ user: null, cart: null });
    });
  });
});
