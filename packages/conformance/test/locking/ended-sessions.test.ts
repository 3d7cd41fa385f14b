import { describe, expect, it } from "vitest";
import { testClient } from "../../src/index.js";
import { begin, close, gatedStorage, modes, open } from "./stage.js";

const renewal = { keep: "all", grace: true } as const;

for (const mode of modes) {
  describe(`a log-out, ${mode}`, () => {
    it.each([
      ["with grace", true],
      ["without grace", false],
    ])("stands against a renewal %s that another request has begun", async (_, grace) => {
      const { one, client } = await begin({ mode });
      const old = client.cookie;
      const renewing = await open(one, old);
      await renewing.session!.regenerate({ keep: "all", grace });

      await client.visit(one, (_attributes, session) => session.destroy());
      expect(client.cookie).toBeUndefined();
      const { cookie } = await close(renewing);

      for (const left of [old, cookie || old]) {
        const { session } = await testClient(left).visit(one);
        expect([session!.isNew, session!.attributes]).toEqual([true, {}]);
      }
    });

    it("is final for who waited for the lock of the renewed session", async () => {
      const { running, one, client } = await begin({ mode, locking: "all" });
      const old = client.cookie;
      await client.visit(one, (_, session) => session.regenerate(renewal));
      const holder = await open(one, client.cookie);
      const waiting = open(one, old);
      await running.clock.turn(50);

      await holder.session!.destroy();
      await close(holder);
      await running.clock.turn(500);

      const late = await waiting;
      expect([late.session!.isNew, late.session!.attributes]).toEqual([true, {}]);
      await close(late);
    });

    it("is not undone by a running request, where another's renewal was given up", async () => {
      const { one, client } = await begin({ mode });
      const old = client.cookie;
      const renewing = await open(one, old);
      await renewing.session!.regenerate(renewal);
      await renewing.end();
      const slow = await open(one, old);
      slow.session!.attributes.slow = 1;

      await client.visit(one, (_, session) => session.destroy());

      expect(await close(slow)).toMatchObject({ outcome: "discarded", cookie: undefined });
      expect((await testClient(old).visit(one)).session!.isNew).toBe(true);
    });
  });

  describe(`a log-in, ${mode}`, () => {
    it("makes the old id worthless at once, where another's renewal was given up before", async () => {
      const { one, client } = await begin({ mode });
      const old = client.cookie;
      const renewing = await open(one, old);
      await renewing.session!.regenerate(renewal);
      await renewing.end();
      await client.visit(one, (attributes) => {
        attributes.basket = "secret";
      });

      await client.visit(one, async (_, session) => {
        await session.regenerate();
        session.attributes.user = "admin";
      });

      const { session } = await testClient(old).visit(one);
      expect([session!.isNew, session!.attributes]).toEqual([true, {}]);
    });
  });
}

describe("a sticky session whose old id is still being ended", () => {
  it("is not given out any more once it was destroyed under the new id", async () => {
    const storage = gatedStorage("putIfNewer");
    const { one, client } = await begin({ mode: "sticky", createStorage: storage.createStorage });
    const old = client.cookie;
    const renewing = await open(one, old);
    await renewing.session!.regenerate(renewal);
    const tombstone = storage.holdNext();
    const closing = close(renewing);
    await tombstone.arrived;

    await testClient(old).visit(one, (_, session) => session.destroy());

    const late = await open(one, old);
    expect(late.session!.attributes).toEqual({});
    await close(late);
    tombstone.letGo();
    await closing;
  });
});
