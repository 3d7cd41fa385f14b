import { MsmError, type SessionManager, type SessionRequest } from "@msm/core";
import { type AdoptedRequest, adoptPrevious, type PreviousSession } from "@msm/core/node";
import { afterEach, describe, expect, it } from "vitest";
import { type Cluster, type ClusterOptions, cluster } from "../src/index.js";

let running: Cluster | undefined;
const start = (options: ClusterOptions = {}) => {
  running = cluster(options);
  return running;
};
afterEach(async () => {
  await running?.close();
  running = undefined;
});

/** The sessions of the library that was there before: cookies named `old` with the bare id. */
class OldSessions {
  readonly stored = new Map<string, PreviousSession>();
  readonly asked: string[] = [];
  failsToEnd = false;
  answer: (() => Promise<never>) | undefined;

  readId = (header: string | undefined): string | undefined => /\bold=(\w+)/.exec(header ?? "")?.[1];

  async load(id: string): Promise<PreviousSession | undefined> {
    this.asked.push(id);
    if (this.answer !== undefined) return this.answer();
    return this.stored.get(id);
  }

  async end(id: string): Promise<void> {
    if (this.failsToEnd) throw new Error("the old store is away");
    this.stored.delete(id);
  }
}

const request = (cookieHeader: string | undefined): SessionRequest => ({
  method: "GET",
  url: "/",
  secure: false,
  cookieHeader,
});

type Adopt = (request: SessionRequest) => AdoptedRequest | Promise<AdoptedRequest>;

/** One request, as an adapter serves it. */
async function visit(
  manager: SessionManager,
  adopt: Adopt,
  cookieHeader: string | undefined,
  change?: object,
) {
  const adopted = await adopt(request(cookieHeader));
  const exchange = await manager.open(adopted.request);
  const { session } = exchange;
  Object.assign(session!.attributes, change);
  const { outcome } = await exchange.commit();
  const cookie = exchange.cookie()?.split(";")[0];
  await exchange.end();
  return { session: session!, attributes: { ...session!.attributes }, cookie, outcome, ...adopted };
}

describe.each(["non-sticky", "sticky"] as const)(
  "%s: who comes with a cookie of the library used before",
  (mode) => {
    function site(options: ClusterOptions = {}) {
      const { start: process, ...others } = start({ mode, ...options });
      const old = new OldSessions();
      old.stored.set("ann", { attributes: { user: "ann" } });
      const app = () => {
        const manager = process();
        return { manager, adopt: adoptPrevious(manager, old) };
      };
      return { ...others, old, app };
    }

    it("goes on with what they had, under a cookie of ours, and the former session ends", async () => {
      const { app, old } = site();
      const { manager, adopt } = app();

      const first = await visit(manager, adopt, "old=ann", { n: 1 });
      const second = await visit(manager, adopt, `old=ann; ${first.cookie}`);

      expect(first.attributes).toEqual({ user: "ann", n: 1 });
      expect(first.cookie).toMatch(/^sid=/);
      expect(second.attributes).toEqual({ user: "ann", n: 1 });
      expect(old.stored.size).toBe(0);
      expect([first.isFormerLeftOver, second.isFormerLeftOver]).toEqual([false, true]);
      expect(old.asked, "a request with a session of ours asks the former store nothing").toEqual(["ann"]);
    });

    it("finds it again by the former cookie, where the first answer got lost", async () => {
      const { app } = site();
      const [one, two] = [app(), app()];

      await visit(one.manager, one.adopt, "old=ann", { n: 1 });

      expect((await visit(two.manager, two.adopt, "old=ann")).attributes).toEqual({ user: "ann", n: 1 });
    });

    it("has one session, however many requests come at once, and in whichever process", async () => {
      const { app } = site();
      const [one, two] = [app(), app()];

      const visits = await Promise.all(
        [one, one, two, two].map(({ manager, adopt }, at) =>
          visit(manager, adopt, "old=ann", { [`n${at}`]: at }),
        ),
      );
      const last = await visit(one.manager, one.adopt, "old=ann");

      expect(new Set(visits.map(({ session }) => session.id)).size).toBe(1);
      expect(last.attributes).toEqual({ user: "ann", n0: 0, n1: 1, n2: 2, n3: 3 });
    });

    it("is not logged in again by the former cookie once they logged out", async () => {
      const { app } = site();
      const [one, two] = [app(), app()];
      const { cookie } = await visit(one.manager, one.adopt, "old=ann");
      const leaving = await one.manager.open(request(cookie));
      await leaving.session!.destroy();
      await leaving.commit();
      await leaving.end();

      const back = await visit(two.manager, two.adopt, "old=ann");

      expect(back.attributes).toEqual({});
      expect(back.cookie).toBeUndefined();
    });

    it("is refused while the former session cannot be ended, and loses nothing by it", async () => {
      const { app, old } = site();
      const { manager, adopt } = app();
      old.failsToEnd = true;
      await expect(visit(manager, adopt, "old=ann")).rejects.toThrow(MsmError);
      await expect(visit(manager, adopt, "old=ann")).rejects.toThrow(
        expect.objectContaining({ code: "MSM_ERR_STORAGE_UNAVAILABLE", status: 503 }),
      );

      old.failsToEnd = false;

      expect((await visit(manager, adopt, "old=ann")).attributes).toEqual({ user: "ann" });
      expect(old.stored.size).toBe(0);
    });

    it("is refused, not logged out, while the former store or the nodes cannot be reached", async () => {
      const { app, old, nodes } = site();
      const { manager, adopt } = app();
      old.answer = () => Promise.reject(new Error("ECONNREFUSED"));
      await expect(visit(manager, adopt, "old=ann")).rejects.toThrow(
        expect.objectContaining({ status: 503 }),
      );
      old.answer = undefined;
      for (const node of Object.values(nodes)) node.goDown();
      await expect(visit(manager, adopt, "old=ann")).rejects.toThrow(
        expect.objectContaining({ status: 503 }),
      );

      expect(old.stored.size, "it is still there").toBe(1);
    });

    it("keeps the age of the cookie, and its idle timeout", async () => {
      const { app, old, clock } = site();
      const { manager, adopt } = app();
      old.stored.set("ann", { attributes: { user: "ann" }, cookieAgeMs: 3_600_000 });
      const { session } = await visit(manager, adopt, "old=ann");
      expect(session.idleTimeoutMs).toBe(3_600_000);

      await clock.turn(3_000_000);

      expect((await visit(manager, adopt, "old=ann")).attributes).toMatchObject({ user: "ann" });
    });

    it("without a session there begins one as anybody does, under an id of its own", async () => {
      const { app } = site();
      const { manager, adopt } = app();

      const bob = await visit(manager, adopt, "old=bob", { n: 1 });
      const again = await visit(manager, adopt, "old=bob");

      expect(bob.attributes).toEqual({ n: 1 });
      expect(again.session.id).not.toBe(bob.session.id);
    });
  },
);

it("who waits for a former store that does not answer is refused in time", async () => {
  const { start: process } = start();
  const manager = process();
  const old = Object.assign(new OldSessions(), { timeoutMs: 1 });
  old.answer = () => new Promise(() => {});

  await expect(visit(manager, adoptPrevious(manager, old), "old=ann")).rejects.toThrow(
    expect.objectContaining({ code: "MSM_ERR_STORAGE_TIMEOUT" }),
  );
});
