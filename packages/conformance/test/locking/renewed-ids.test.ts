import type { SessionExchange, SessionManager } from "@msm/core";
import { afterEach, describe, expect, it } from "vitest";
import { type Cluster, type ClusterOptions, cluster, type TestClient, testClient } from "../../src/index.js";

let running: Cluster;
afterEach(() => running.close());

async function begin(options: Record<string, unknown>): Promise<{ one: SessionManager; client: TestClient }> {
  running = cluster(options as ClusterOptions);
  const one = running.start("app1");
  const client = testClient();
  await client.visit(one, (session) => {
    session.user = "anna";
  });
  return { one, client };
}

const renew = (client: TestClient, manager: SessionManager) =>
  client.visit(manager, (_, session) => session.regenerate({ keep: "all", grace: true }));

async function close(exchange: SessionExchange) {
  const result = await exchange.commit();
  const setCookie = exchange.cookie();
  await exchange.end();
  return { outcome: result.outcome, cookie: /^sid=([^;]*)/.exec(setCookie ?? "")?.[1] };
}

for (const mode of ["non-sticky", "sticky"] as const) {
  describe(`a plain renewal of the id, ${mode}`, () => {
    it("leads requests with the old id to the session, and gives them the new cookie, for ten seconds", async () => {
      const { one, client } = await begin({ mode });
      const old = client.cookie;
      await renew(client, one);
      expect(client.cookie).not.toBe(old);

      await running.clock.turn(9000);
      const late = testClient(old);
      const { session } = await late.visit(one);
      expect([session?.isNew, session?.attributes.user]).toEqual([false, "anna"]);
      expect(late.cookie).toBe(client.cookie);

      await running.clock.turn(1001);
      expect((await testClient(old).visit(one)).session?.isNew).toBe(true);
      expect((await client.visit(one)).session?.attributes.user).toBe("anna");
    });

    it("leads there in other processes, and after a node is lost", async () => {
      const { one, client } = await begin({ mode });
      const old = client.cookie;
      await renew(client, one);
      const [, home = ""] = old!.split("-");
      running.nodes[home]!.goDown();
      await running.clock.turn(1500);

      const { session } = await testClient(old).visit(running.start("app2"));

      expect(session?.attributes.user).toBe("anna");
    });

    it("takes along what requests changed that were running", async () => {
      const { one, client } = await begin({ mode });
      const before = await testClient(client.cookie).open(one);
      const after = await testClient(client.cookie).open(mode === "sticky" ? one : running.start());
      const renewing = await client.open(one);
      await renewing.session!.regenerate({ keep: "all", grace: true });
      renewing.session!.attributes.renewed = true;

      before.session!.attributes.before = 1;
      expect((await close(before)).outcome).toBe("stored");
      const { cookie } = await close(renewing);
      after.session!.attributes.after = 2;
      const late = await close(after);
      expect(late.outcome).toBe("stored");

      expect((await testClient(cookie).visit(one)).session?.attributes).toEqual({
        user: "anna",
        renewed: true,
        before: 1,
        after: 2,
      });
      expect(late.cookie).toBe(cookie);
    });

    it("takes no cookie from a client whose other request only read", async () => {
      const { one, client } = await begin({ mode });
      const reading = await testClient(client.cookie).open(one);
      expect(reading.session!.attributes.user).toBe("anna");
      await renew(client, one);

      expect([undefined, client.cookie]).toContain((await close(reading)).cookie);
    });

    it("leads on where it was renewed once more", async () => {
      const { one, client } = await begin({ mode });
      const old = client.cookie;
      await renew(client, one);
      await renew(client, one);

      const late = testClient(old);
      expect((await late.visit(one)).session?.attributes.user).toBe("anna");
      expect(late.cookie).toBe(client.cookie);
    });

    it("leads nowhere once the session was destroyed", async () => {
      const { one, client } = await begin({ mode });
      const old = client.cookie;
      await renew(client, one);
      await client.visit(one, (_, session) => session.destroy());

      expect((await testClient(old).visit(one)).session?.isNew).toBe(true);
    });

    it("is refused where not all of the session goes on", async () => {
      const { one, client } = await begin({ mode });

      await client.visit(one, async (_, session) => {
        await expect(session.regenerate({ grace: true })).rejects.toMatchObject({ code: "MSM_ERR_OPTION" });
      });
    });

    it("leaves the new id on no node where somebody could read it", async () => {
      const { one, client } = await begin({ mode });
      const written: string[] = [];
      for (const node of Object.values(running.nodes)) {
        const { putIfNewer, save } = node;
        node.putIfNewer = (key, record, ttlMs) => {
          written.push(key, Buffer.from(record).toString("latin1"));
          return putIfNewer.call(node, key, record, ttlMs);
        };
        node.save = (key, record, ttlMs, options) => {
          written.push(key, Buffer.from(record).toString("latin1"));
          return save.call(node, key, record, ttlMs, options);
        };
      }

      const { session } = await renew(client, one);

      expect(written.length).toBeGreaterThan(0);
      for (const form of [session!.id, Buffer.from(session!.id, "hex").toString("latin1")]) {
        expect(written.some((bytes) => bytes.includes(form))).toBe(false);
      }
    });
  });

  describe(`a new id at a log-in, ${mode}`, () => {
    it("makes the old one worthless at once, and takes no cookie from who has the new one", async () => {
      const { one, client } = await begin({ mode });
      const old = client.cookie;
      const slow = await testClient(old).open(one);
      await client.visit(one, async (_, session) => {
        await session.regenerate();
        session.attributes.user = "admin";
      });

      slow.session!.attributes.user = "mallory";
      expect(await close(slow)).toEqual({ outcome: "discarded", cookie: undefined });

      expect((await testClient(old).visit(one)).session?.isNew).toBe(true);
      expect((await client.visit(one)).session?.attributes).toEqual({ user: "admin" });
    });
  });
}
