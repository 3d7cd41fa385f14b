import type { SessionManager } from "@msm/core";
import { afterEach, describe, expect, it } from "vitest";
import { type Cluster, type ClusterOptions, cluster } from "../../src/index.js";
import { browser, watched } from "./browser.js";

// What memcached-session-manager would fail, by the letters in docs/original-behaviours.md. Letter b is in
// increments.test.ts, with real nodes; letters c and n are tested over HTTP as well, in @msm/express.

let running: Cluster | undefined;
afterEach(async () => {
  await running?.close();
  running = undefined;
});

const start = (options: Partial<ClusterOptions> & { readonly mode?: "sticky" | "non-sticky" }): Cluster => {
  running = cluster(options as ClusterOptions);
  return running;
};

const modes = ["non-sticky", "sticky"] as const;

describe.each(modes)("%s", (mode) => {
  const secondProcess = (one: SessionManager) => (mode === "sticky" ? one : running!.start("app2"));

  it("original a: a request that keeps its session for too long loses it, and frees nobody else's lock nor overwrites anything", async () => {
    const { start: process, clock } = start({
      mode,
      locking: "all",
      leaseTtlMs: 3000,
      maxLeaseMs: 5000,
      lockTimeoutMs: 60_000,
    });
    const one = process("app1");
    const two = secondProcess(one);
    const visitor = browser();
    await visitor.ask(one, "POST /put", (attributes) => {
      attributes.n = 1;
    });
    const late = await visitor.open(one, "POST /slow");
    const seenByLate = late.session!.attributes.n;
    const next = watched(visitor.open(two, "POST /next"));
    await clock.turn(4900);
    expect(next.isWaiting).toBe(true);

    await clock.turn(1000);
    const holder = await next.exchange;
    expect([late, holder].map((exchange) => exchange.session!.isLocked)).toEqual([false, true]);
    const third = watched(visitor.open(mode === "sticky" ? one : process("app3"), "POST /third"));
    const savedMeanwhile = holder.session!.attributes.n + 1;
    holder.session!.attributes.n = savedMeanwhile;
    await holder.session!.save();
    late.session!.attributes.n = seenByLate + 1;
    const { result } = await visitor.finish(late);
    await clock.turn(1000);

    expect(result).toMatchObject({ outcome: "failed", error: { code: "MSM_ERR_CONFLICT", status: 409 } });
    expect(third.isWaiting, "the lock is still the second request's").toBe(true);
    expect(holder.session!.isLocked).toBe(true);
    await visitor.finish(holder);
    await clock.turn(1000);
    const last = await third.exchange;
    expect(last.session!.attributes.n).toBe(2);
    last.session!.attributes.n += 1;
    expect((await visitor.finish(last)).result.outcome).toBe("stored");
    expect(one.stats().events.leaseLost).toBe(1);
  });

  it("original a: the same change by who lost the lock and by who got it is a conflict, and not one change", async () => {
    const { start: process, clock } = start({
      mode,
      locking: "all",
      maxLeaseMs: 5000,
      lockTimeoutMs: 60_000,
    });
    const one = process("app1");
    const two = secondProcess(one);
    const visitor = browser();
    await visitor.ask(one, "POST /put", (attributes) => {
      attributes.n = 1;
    });
    const late = await visitor.open(one, "POST /slow");
    const seenByLate = late.session!.attributes.n;
    await clock.turn(6000);
    expect((await visitor.ask(two, "POST /put", (attributes) => (attributes.n += 1))).result.outcome).toBe(
      "stored",
    );

    late.session!.attributes.n = seenByLate + 1; // 2, as the other one made it
    const { result } = await visitor.finish(late);

    expect(result).toMatchObject({ outcome: "failed", error: { code: "MSM_ERR_CONFLICT" } });
    expect((await visitor.ask(two, "GET /get")).session?.attributes.n).toBe(2);
  });

  it("original c: once a request is committed, any process serves what it wrote", async () => {
    const { start: process } = start({ mode });
    const [one, two] = [process("app1"), process("app2")];
    const visitor = browser();

    for (let n = 1; n <= 6; n++) {
      const [writer, reader] = n % 2 === 0 ? [one, two] : [two, one];
      const { result } = await visitor.ask(writer, "POST /redirect", (attributes) => {
        attributes.n = n;
      });
      expect(result.outcome).toBe("stored");
      expect((await visitor.ask(reader, "GET /target")).session?.attributes.n).toBe(n);
    }
  });

  it.each(["primary", "other"] as const)(
    "original f: who logs out while the %s node is away stays logged out when it is back",
    async (which) => {
      const { start: process, nodes, clock } = start({ mode, locking: "all" });
      const one = process("app1");
      const visitor = browser();
      await visitor.ask(one, "POST /login", (attributes) => {
        attributes.user = "ann";
      });
      await visitor.ask(one, "POST /put", (attributes) => {
        attributes.cart = ["book"];
      });
      const replay = visitor.cookie;
      const primary = visitor.cookie!.split("-")[1]!;
      const away = Object.entries(nodes).find(([id]) => (id === primary) === (which === "primary"))![1];

      away.goDown();
      await visitor.ask(one, "POST /logout", (_, session) => session.destroy());
      expect(visitor.cookie).toBeUndefined();
      await clock.turn(5000);
      away.comeBack();
      await clock.turn(40_000);

      for (const manager of [one, process("app2")]) {
        const { session } = await browser(replay).ask(manager, "GET /get");
        expect(session).toMatchObject({ isNew: true });
        expect(session?.attributes.user).toBeUndefined();
      }
    },
  );

  it("original k: a request that changes nothing but the idle timeout has changed the session", async () => {
    const { start: process, clock } = start({ mode, idleTimeoutMs: 10_000 });
    const [one, two] = [process("app1"), process("app2")];
    const visitor = browser();
    await visitor.ask(one, "POST /put", (attributes) => {
      attributes.n = 1;
    });

    const { result } = await visitor.ask(one, "POST /remember-me", (_, session) => {
      session.idleTimeoutMs = 100_000;
    });
    expect(result.outcome).toBe("stored");
    await clock.turn(60_000);
    const { session } = await visitor.ask(two, "GET /get");

    expect(session).toMatchObject({ isNew: false, idleTimeoutMs: 100_000 });
    expect(session?.attributes.n).toBe(1);
  });

  it("original l: a session that never expires in practice and is only read is never written", async () => {
    const {
      start: process,
      takeCounts,
      clock,
    } = start({
      mode,
      idleTimeoutMs: 3650 * 24 * 60 * 60 * 1000,
      locking: "auto",
    });
    const one = process("app1");
    const visitor = browser();
    await visitor.ask(one, "POST /put", (attributes) => {
      attributes.n = 1;
    });
    takeCounts();

    for (let i = 0; i < 10; i++) {
      await visitor.ask(one, "GET /get", (attributes) => attributes.n);
      await clock.turn(60_000);
    }

    const counts = takeCounts();
    expect(counts).not.toHaveProperty("save");
    expect(counts).not.toHaveProperty("putIfNewer");
    expect(counts.load ?? 0).toBe(mode === "sticky" ? 0 : 10);
    // Until the route is known to read only.
    expect(counts.unlock ?? 0).toBe(mode === "sticky" ? 0 : 3);
  });

  it("original n: what a handler changes after it has waited is saved, with and without a request", async () => {
    const { start: process, clock } = start({ mode, locking: "all" });
    const one = process("app1");
    const visitor = browser();
    await visitor.ask(one, "POST /put", (attributes) => {
      attributes.n = 0;
    });
    const changeLater = async (attributes: { n?: number }) => {
      await new Promise<void>((resolve) => void clock.after(1000, resolve));
      attributes.n = (attributes.n ?? 0) + 1;
    };

    const asking = visitor.ask(one, "POST /put", changeLater);
    await clock.turn(1000);
    const { session, result } = await asking;
    expect(result.outcome).toBe("stored");
    const working = one.withSession(session!.id, ({ attributes }) => changeLater(attributes));
    await clock.turn(1000);
    await working;

    expect((await visitor.ask(process("app2"), "GET /get")).session?.attributes.n).toBe(2);
  });
});
