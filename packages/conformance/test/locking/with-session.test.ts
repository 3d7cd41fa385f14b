import type { Session, SessionManager } from "@msm/core";
import { afterEach, describe, expect, it } from "vitest";
import { type Cluster, type ClusterOptions, cluster, type TestClient, testClient } from "../../src/index.js";

let running: Cluster;
afterEach(() => running.close());

async function begin(options: Record<string, unknown>) {
  running = cluster(options as ClusterOptions);
  const one = running.start("app1");
  const client = testClient();
  const { session } = await client.visit(one, (attributes) => {
    attributes.count = 0;
  });
  return { one, client, id: session!.id };
}

const increment = ({ attributes }: Session) => {
  attributes.count++;
};

const countOf = async (manager: SessionManager, client: TestClient) =>
  (await client.visit(manager)).session?.attributes.count as number;

for (const mode of ["non-sticky", "sticky"] as const) {
  describe(`withSession(), ${mode}`, () => {
    it("runs work on a stored session, saves what it changed, and gives what it gives", async () => {
      const { one, client, id } = await begin({ mode });

      expect(await one.withSession(id, (session) => session.attributes.count)).toBe(0);
      expect(
        await one.withSession(id, async (session) => {
          await running.clock.turn(5);
          increment(session);
          return session.isNew;
        }),
      ).toBe(false);

      expect(await countOf(one, client)).toBe(1);
    });

    it("rejects where there is no such session, and takes nothing else for an id", async () => {
      const { one, client, id } = await begin({ mode });
      await client.visit(one, (_, session) => session.destroy());

      for (const gone of [id, "0".repeat(48), "", "__proto__", `${id}-n1`]) {
        await expect(one.withSession(gone, increment)).rejects.toMatchObject({
          code: "MSM_ERR_SESSION_GONE",
        });
      }
    });

    it("has the session to itself where requests lock, in the same line as they", async () => {
      const { one, client, id } = await begin({ mode, locking: "all" });

      await Promise.all(
        Array.from({ length: 16 }, async (_, i) => {
          const add = async (attributes: Record<string, number>) => {
            const before = attributes.count!;
            await running.clock.turn(5);
            attributes.count = before + 1;
          };
          if (i % 2 === 0) await one.withSession(id, ({ attributes }) => add(attributes));
          else await testClient(client.cookie).visit(one, add);
        }),
      );

      expect(await countOf(one, client)).toBe(16);
    });

    it("does without a lock where that is asked for, or where requests do not lock", async () => {
      const { one, id } = await begin({ mode, locking: "all" });

      expect(await one.withSession(id, ({ isLocked }) => isLocked)).toBe(true);
      expect(await one.withSession(id, ({ isLocked }) => isLocked, { lock: false })).toBe(false);
      await running.close();
      const again = await begin({ mode });
      expect(await again.one.withSession(again.id, ({ isLocked }) => isLocked)).toBe(false);
      expect(await again.one.withSession(again.id, ({ isLocked }) => isLocked, { lock: true })).toBe(true);
    });

    it("saves nothing of work that throws, and lets the next one in", async () => {
      const { one, client, id } = await begin({ mode, locking: "all" });

      const failing = one.withSession(id, (session) => {
        increment(session);
        throw new Error("out of paper");
      });

      await expect(failing).rejects.toThrow("out of paper");
      expect(await countOf(one, client)).toBe(0);
    });

    it("rejects where the session cannot be read or saved", async () => {
      const { one, id } = await begin({ mode: "non-sticky" });
      for (const node of Object.values(running.nodes)) node.goDown();

      await expect(one.withSession(id, increment)).rejects.toMatchObject({
        code: "MSM_ERR_STORAGE_UNAVAILABLE",
      });
      for (const node of Object.values(running.nodes)) node.comeBack();
      await running.clock.turn(2000);
      await expect(
        one.withSession(id, async (session) => {
          increment(session);
          for (const node of Object.values(running.nodes)) node.goDown();
        }),
      ).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
    });

    it("ends a session, and gives none a new id that nobody could be told of", async () => {
      const { one, client, id } = await begin({ mode });

      await expect(one.withSession(id, (session) => session.regenerate())).rejects.toMatchObject({
        code: "MSM_ERR_HEADERS_SENT",
      });
      await one.withSession(id, (session) => session.destroy());

      expect((await client.visit(one)).session?.isNew).toBe(true);
    });

    it("is waited for by close(), and refused after it", async () => {
      const { one, id } = await begin({ mode });
      let finish = () => {};
      const working = one.withSession(id, async (session) => {
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        increment(session);
      });
      await running.clock.turn(0);

      const closed = one.close();
      finish();
      await Promise.all([working, closed]);

      await expect(one.withSession(id, increment)).rejects.toMatchObject({ code: "MSM_ERR_CLOSED" });
    });

    it("finds a session whose node is down", async () => {
      const { one, client, id } = await begin({ mode });
      const [, home = ""] = client.cookie!.split("-");
      running.nodes[home]!.goDown();
      await running.clock.turn(1200);

      await one.withSession(id, increment);

      expect(await countOf(one, client)).toBe(1);
    });
  });
}

describe("withSession() on a sticky session of another process", () => {
  it("changes the backup, which stays the owner's, and the owner merges with it", async () => {
    const { one, client, id } = await begin({ mode: "sticky" });
    const two = running.start("app2");

    await two.withSession(id, ({ attributes }) => {
      attributes.job = "done";
    });
    expect(two.stats()).toMatchObject({ localSessions: 0, events: { takenOver: 0 } });
    await client.visit(one, (attributes) => {
      attributes.count = 5;
    });

    expect((await client.visit(one)).session?.attributes).toEqual({ count: 5, job: "done" });
    expect(client.cookie).toMatch(/\.app1$/);
  });

  it("is found by who takes the session over next", async () => {
    const { one, client, id } = await begin({ mode: "sticky" });
    const two = running.start("app2");
    await two.withSession(id, increment);
    running.kill(one);

    expect(await countOf(two, client)).toBe(1);
  });
});
