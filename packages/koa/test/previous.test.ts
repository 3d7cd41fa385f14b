import { type PreviousOptions, session } from "@msm/koa";
import Keygrip from "keygrip";
import { describe, expect, it } from "vitest";
import { MemoryStore } from "./memory-store.js";
import { closeLater, secret, start, versions, visit } from "./running.js";
import { visitor } from "./visitor.js";

const keys = ["the second key", "the first key"];

describe.each(versions)("previous: sessions of koa-session, %s", (_version, Koa) => {
  function application(previous: PreviousOptions, maxAge?: number) {
    const app = new Koa();
    app.keys = keys;
    const sessions = session({ secret, key: "sid", maxAge, previous }, app);
    closeLater(() => sessions.manager.close());
    app.use(sessions).use(async (ctx) => {
      if (ctx.path === "/count") ctx.session!.n = (ctx.session!.n ?? 0) + 1;
      if (ctx.path === "/leave") await ctx.session!.destroy();
      ctx.body = { ...ctx.session, age: ctx.session?.maxAge ?? null };
    });
    return app;
  }
  const signed = (value: string, by = keys) =>
    [
      ["koa.sess", value],
      ["koa.sess.sig", new Keygrip(by).sign(`koa.sess=${value}`)],
    ] as const;
  const payload = (data: object) => Buffer.from(JSON.stringify(data)).toString("base64");
  const inFuture = { _expire: Date.now() + 60_000, _maxAge: 86_400_000 };

  it("go on from its store, and end there; their cookies are cleared once the client has ours", async () => {
    const store = new MemoryStore();
    store.stored.set("old", JSON.stringify({ user: "ann", ...inFuture }));
    const ask = visitor(await start(application({ store })), signed("old", keys.slice(1)));

    expect(JSON.parse((await ask("/count")).body)).toEqual({ user: "ann", n: 1, age: null });
    expect([...ask.cookies.keys()].sort()).toEqual(["koa.sess", "koa.sess.sig", "sid"]);
    expect(JSON.parse((await ask("/count")).body)).toEqual({ user: "ann", n: 2, age: null });
    expect([[...ask.cookies.keys()], store.stored.size]).toEqual([["sid"], 0]);
  });

  it("go on from the cookie itself, where they were in there", async () => {
    const former = { user: "ann", constructor: 1, cookie: "mine", _own: 2, ...inFuture };
    const ask = visitor(await start(application({})), signed(payload(former)));

    expect(JSON.parse((await ask("/count")).body)).toEqual({ user: "ann", n: 1, age: null });
    await ask("/read");
    expect([...ask.cookies.keys()]).toEqual(["sid"]);
  });

  it("from cookies of the same content are one for each client: others' cookies may hold the same", async () => {
    const url = await start(application({}));
    const same = signed(payload({ views: 1, _session: true }));
    const [ann, bob] = [visitor(url, same), visitor(url, same)];

    expect(JSON.parse((await ann("/count")).body)).toMatchObject({ views: 1, n: 1 });
    expect(JSON.parse((await bob("/count")).body)).toMatchObject({ views: 1, n: 1 });
    expect(ann.cookies.get("sid")).not.toBe(bob.cookies.get("sid"));
  });

  it("whose client logs out at once leave no cookie behind that would log in again", async () => {
    const ask = visitor(await start(application({})), signed(payload({ user: "ann", ...inFuture })));

    await ask("/leave");

    expect([...ask.cookies.keys()]).toEqual([]);
  });

  it("keep the age of their cookie where it was another than usual", async () => {
    const usual = await start(application({}, 60_000));
    const age = async (data: object) => {
      const ask = visitor(usual, signed(payload({ user: "ann", ...data })));
      return JSON.parse((await ask("/read")).body).age;
    };

    expect(await age({ _expire: Date.now() + 5000, _maxAge: 60_000 })).toBe(60_000);
    expect(await age({ _expire: Date.now() + 5000, _maxAge: 7000 })).toBe(7000);
    expect(await age({ _session: true })).toBe("session");
  });

  it("are nothing to who forges, or comes too late, or has none", async () => {
    const store = new MemoryStore();
    store.stored.set("late", JSON.stringify({ user: "ann", _expire: Date.now() - 1 }));
    const url = await start(application({ store }));
    const url2 = await start(application({}));

    for (const ask of [
      visitor(url, signed("late")),
      visitor(url, [...signed("late")].slice(0, 1)),
      visitor(url, [["koa.sess", "gone"], ...signed("gone", ["forged"]).slice(1)]),
      visitor(url2, signed("no base64 of JSON!")),
      visitor(url2, signed(payload({ user: "ann" }), ["forged"])),
      await visit(application({ store })),
    ])
      expect(JSON.parse((await ask("/read")).body)).toEqual({ age: null });
  });

  it("may be signed by a Keygrip, or not at all, and have another name", async () => {
    const store = new MemoryStore();
    const put = () => store.stored.set("old", JSON.stringify({ user: "ann", ...inFuture }));
    const own = new Keygrip(["own"]);

    put();
    const byKeygrip = visitor(await start(application({ store, keys: own })), signed("old", ["own"]));
    expect(JSON.parse((await byKeygrip("/read")).body)).toMatchObject({ user: "ann" });
    put();
    const unsigned = visitor(await start(application({ store, key: "k", signed: false })), [["k", '"old"']]);
    expect(JSON.parse((await unsigned("/read")).body)).toMatchObject({ user: "ann" });
  });
});
