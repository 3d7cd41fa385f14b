import { MsmError } from "@msm/core";
import { describe, expect, it } from "vitest";
import { type FaultyStorage, testClient } from "../../src/index.js";
import { attributesOf, begin, close, gatedStorage, homeOf, modes, open } from "./stage.js";

const renewal = { keep: "all", grace: true } as const;

for (const mode of modes) {
  describe(`plain renewals of the id and other requests at once, ${mode}`, () => {
    it("leave one session, with what both renewing requests changed", async () => {
      const { one, client } = await begin({ mode });
      const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];
      await first.session!.regenerate(renewal);
      first.session!.attributes.first = 1;
      await second.session!.regenerate(renewal);
      second.session!.attributes.second = 2;

      const ofFirst = await close(first);
      const ofSecond = await close(second);

      expect([ofFirst.outcome, ofSecond.outcome]).toEqual(["stored", "stored"]);
      for (const cookie of [ofFirst.cookie, ofSecond.cookie ?? ofFirst.cookie]) {
        expect(await attributesOf(one, cookie)).toMatchObject({ user: "anna", first: 1, second: 2 });
      }
    });

    it("overwrite nothing under the id that stands with what the other one had taken along", async () => {
      const storage = gatedStorage("save");
      const { one, client } = await begin({ mode, nodeIds: ["n1"], createStorage: storage.createStorage });
      const old = client.cookie;
      const [first, second] = [await open(one, old), await open(one, old)];
      await first.session!.regenerate(renewal);
      await second.session!.regenerate(renewal);
      second.session!.attributes.own = true;
      await testClient(old).visit(one, (attributes) => {
        attributes.count = 1;
      });

      const renewed = storage.holdNext();
      const closing = close(second);
      await renewed.arrived;
      const takenAlong = storage.holdNext();
      renewed.letGo();
      await takenAlong.arrived;
      const { cookie } = await close(first);
      await testClient(cookie).visit(one, (attributes) => {
        attributes.count += 1;
      });
      takenAlong.letGo();

      expect((await closing).outcome).toBe("stored");
      expect(await attributesOf(one, cookie)).toMatchObject({ count: 2, own: true });
    });

    it("take along what a request changed that ran through two of them", async () => {
      const { one, client } = await begin({ mode });
      const slow = await open(one, client.cookie);
      slow.session!.attributes.slow = 1;
      for (let i = 0; i < 2; i++) await client.visit(one, (_, session) => session.regenerate(renewal));

      expect((await close(slow)).outcome).toBe("stored");

      expect((await attributesOf(one, client.cookie)).slow).toBe(1);
    });

    it("let a running request lock the session that goes on", async () => {
      const { one, client } = await begin({ mode, locking: "app" });
      const slow = await open(one, client.cookie);
      await client.visit(one, (attributes, session) => {
        attributes.count = 5;
        return session.regenerate(renewal);
      });

      await slow.session!.lock();

      expect([slow.session!.isLocked, slow.session!.attributes.count]).toEqual([true, 5]);
      slow.session!.attributes.count++;
      expect((await close(slow)).outcome).toBe("stored");
      expect((await attributesOf(one, client.cookie)).count).toBe(6);
    });

    it("lead a request of another process on that had found the old id just before", async () => {
      const storage = gatedStorage(mode === "sticky" ? "save" : "load");
      const { running, one, client } = await begin({
        mode,
        nodeIds: ["n1"],
        createStorage: storage.createStorage,
      });
      const old = client.cookie;
      const renewing = await open(one, old);
      await renewing.session!.regenerate(renewal);

      const found = storage.holdNext();
      const opening = open(running.start("app2"), old);
      await found.arrived;
      expect((await close(renewing)).outcome).toBe("stored");
      found.letGo();

      const { session } = await opening;
      expect([session!.isNew, session!.attributes.user]).toEqual([false, "anna"]);
    });

    it("lead work by the old id on", async () => {
      const { one, client, id } = await begin({ mode });
      await client.visit(one, (_, session) => session.regenerate(renewal));

      expect(await one.withSession(id, ({ attributes }) => attributes.user)).toBe("anna");
    });

    it("end the old id, or are not told to have worked, where a save is repeated after its end failed", async () => {
      const { running, one, client } = await begin({ mode });
      const old = client.cookie;
      const renewing = await open(one, old);
      await renewing.session!.regenerate(renewal);
      const writes = failWritesAfterTheFirst(Object.values(running.nodes));
      await renewing.session!.save().catch((error: unknown) => expect(error).toBeInstanceOf(MsmError));
      writes.succeed();

      const { outcome } = await close(renewing);

      await running.clock.turn(20_000);
      const { session } = await testClient(old).visit(one);
      expect(session!.isNew || outcome === "failed").toBe(true);
    });
  });
}

/** One save of all is carried out: that of the new session. The others and what is put time out. */
function failWritesAfterTheFirst(nodes: readonly FaultyStorage[]): { succeed(): void } {
  let isFirst = true;
  const timeout = () => Promise.reject(new MsmError("MSM_ERR_STORAGE_TIMEOUT", "told to fail"));
  const restores = nodes.map((node) => {
    const { save, putIfNewer } = node;
    node.save = (...args) => {
      if (!isFirst) return timeout();
      isFirst = false;
      return save.apply(node, args);
    };
    node.putIfNewer = (...args) => (isFirst ? putIfNewer.apply(node, args) : timeout());
    return () => Object.assign(node, { save, putIfNewer });
  });
  return {
    succeed() {
      for (const restore of restores) restore();
    },
  };
}

describe("a plain renewal of the id", () => {
  it("takes along what was saved under the old id on the other node, non-sticky", async () => {
    const { running, one, client } = await begin({ mode: "non-sticky" });
    const renewing = await open(one, client.cookie);
    await renewing.session!.regenerate(renewal);
    running.nodes[homeOf(client.cookie)]!.goDown();
    await running.clock.turn(1200);
    const saving = await testClient(client.cookie).visit(running.start("app2"), (attributes) => {
      attributes.saved = 1;
    });
    expect(saving.result.outcome).toBe("stored");

    const { outcome, cookie } = await close(renewing);

    expect(outcome).toBe("stored");
    expect((await attributesOf(one, cookie)).saved).toBe(1);
  });

  it('loses nothing of its own to a save under the old id that came before it, under "none"', async () => {
    const { one, client } = await begin({ locking: "none" });
    const before = await open(one, client.cookie);
    const renewing = await open(one, client.cookie);
    await renewing.session!.regenerate(renewal);
    renewing.session!.attributes.renewed = true;
    before.session!.attributes.before = 1;
    await close(before);

    const { outcome, cookie } = await close(renewing);

    expect(outcome).toBe("stored");
    expect((await attributesOf(one, cookie)).renewed).toBe(true);
  });

  it("ends the old id after its grace though all nodes were down, sticky", async () => {
    const { running, one, client } = await begin({ mode: "sticky" });
    const old = client.cookie;
    for (const node of Object.values(running.nodes)) node.goDown();
    await running.clock.turn(1500);
    const { result } = await client.visit(one, (_, session) => session.regenerate(renewal));
    expect(result.outcome).toBe("kept");

    for (const node of Object.values(running.nodes)) node.comeBack();
    await running.clock.turn(20_000);

    expect((await testClient(old).visit(one)).session!.isNew).toBe(true);
    expect((await attributesOf(one, client.cookie)).user).toBe("anna");
  });
});
