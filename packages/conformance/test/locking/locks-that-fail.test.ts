import { type Codec, type MsmError, memoryStorage, type SessionManager, type Storage } from "@msm/core";
import { describe, expect, it } from "vitest";
import { type TestClock, testClient } from "../../src/index.js";
import { attributesOf, begin, close, gatedStorage, modes, open, type Stage } from "./stage.js";

/** A codec that not every process has. */
const strange: Codec = {
  name: "strange",
  encode: (value) => (value === undefined ? undefined : Buffer.from(JSON.stringify(value))),
  decode: (bytes) => JSON.parse(Buffer.from(bytes).toString()),
};

for (const mode of modes) {
  describe(`lock(), ${mode}`, () => {
    it("twice at once is one lock, and does not wait for itself", async () => {
      const { one, client } = await begin({ mode, locking: "app" });
      const request = await open(one, client.cookie);

      await Promise.all([request.session!.lock(), request.session!.lock()]);
      expect(request.session!.isLocked).toBe(true);
      await close(request);

      const next = await open(one, client.cookie);
      await next.session!.lock();
      await close(next);
    });

    it("of two requests, twice at once by each, lets one in after the other", async () => {
      const { running, one, client } = await begin({ mode, locking: "app" });
      const [first, second] = [await open(one, client.cookie), await open(one, client.cookie)];
      await Promise.all([first.session!.lock(), first.session!.lock()]);

      const locking = Promise.all([second.session!.lock(), second.session!.lock()]);
      await running.clock.turn(100);
      expect(second.session!.isLocked).toBe(false);
      first.session!.attributes.count++;
      await close(first);
      await running.clock.turn(100);
      await locking;
      second.session!.attributes.count++;

      expect((await close(second)).outcome).toBe("stored");
      expect((await attributesOf(one, client.cookie)).count).toBe(2);
    });
  });

  describe(`"auto", ${mode}`, () => {
    it.each([
      ["that ended without a commit", false],
      ["that could not be saved", true],
    ])("does not take changing requests %s for reading ones", async (_, commits) => {
      const { one, client } = await begin({ mode, locking: "auto" });
      const request = { method: "POST", url: "/save" };
      for (let i = 0; i < 3; i++) {
        const failing = await open(one, client.cookie, request);
        failing.session!.attributes.count = commits ? 1n : i + 1;
        if (commits) expect((await failing.commit()).error?.code).toBe("MSM_ERR_CODEC");
        await failing.end();
      }

      const next = await open(one, client.cookie, request);

      expect(next.session!.isLocked).toBe(true);
      await close(next);
    });
  });
}

describe("a lease", () => {
  it("is given back where what was loaded with it cannot be read", async () => {
    const { running, client } = await begin({ locking: "all", codec: strange });
    const other = running.start("app2", { codec: "json" });
    await expect(open(other, client.cookie)).rejects.toMatchObject({ code: "MSM_ERR_CODEC" });

    const request = await open(running.start("app3"), client.cookie); // at once: the clock stands still

    expect([request.session!.isLocked, request.session!.attributes.user]).toEqual([true, "anna"]);
    await close(request);
  });

  it("that lock() took is given back where what it loaded cannot be used", async () => {
    const { running, one, client } = await begin({ locking: "app" });
    const other = running.start("app2", { codec: strange });
    const request = await open(one, client.cookie);
    await testClient(client.cookie).visit(other, (attributes) => {
      attributes.count = 5;
    });
    await expect(request.session!.lock()).rejects.toMatchObject({ code: "MSM_ERR_CODEC" });

    const next = await open(other, client.cookie);
    const locking = next.session!.lock();
    await running.clock.turn(100);
    await locking;

    expect(next.session!.isLocked).toBe(true);
    await close(next);
    await close(request);
  });

  it("that the save gave back is not told to be lost by a renewal that was under way", async () => {
    const storage = gatedStorage("save");
    const { running, one, client } = await begin({
      locking: "all",
      nodeIds: ["n1"],
      createStorage: storage.createStorage,
    });
    const lost: unknown[] = [];
    one.on("leaseLost", (event) => lost.push(event));
    const request = await open(one, client.cookie);
    await running.clock.turn(990);
    request.session!.attributes.count = 9;
    const save = storage.holdNext("before its answer");
    const closing = close(request);
    await save.arrived;

    running.takeCounts();
    await running.clock.turn(20); // a third of its time to live is over
    expect(running.takeCounts().renewLease).toBe(1);
    save.letGo();

    expect((await closing).outcome).toBe("stored");
    expect(lost).toEqual([]);
  });

  it("is not waited for by a request whose client goes away while its node is asked", async () => {
    const storage = gatedStorage("load");
    const { running, one, client } = await begin({
      locking: "all",
      nodeIds: ["n1"],
      createStorage: storage.createStorage,
    });
    const two = running.start("app2");
    const holder = await open(one, client.cookie);
    const load = storage.holdNext();
    const browser = departingClient();
    const left = expect(open(two, client.cookie, { onClose: browser.onClose })).rejects.toMatchObject({
      code: "MSM_ERR_ABORTED",
    });
    await load.arrived;

    browser.goAway();
    load.letGo();

    await left; // the clock stands still: it does not wait at all
    expect(two.stats().waitingRequests).toBe(0);
    expect(browser.listeners()).toBe(0);
    await close(holder);
  });
});

/** A client as an adapter tells of it: whoever asks after it went away is told at once. */
function departingClient() {
  const listeners = new Set<() => void>();
  let isGone = false;
  return {
    onClose(listener: () => void): () => void {
      if (isGone) listener();
      else listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    goAway(): void {
      isGone = true;
      for (const listener of listeners) listener();
    },
    listeners: () => listeners.size,
  };
}

/** Storages that tell a process nothing of a lease's end, and how long the requests of another process take. */
const deafWaiters = [
  { newsMissing: "a storage that has no news", onRelease: undefined },
  // As with a Redis user who may not listen to the channel: the storage does not know that nobody is told.
  { newsMissing: "news that never arrive", onRelease: () => () => {} },
].flatMap(({ newsMissing, onRelease }) =>
  [20, 50, 150, 250].map((workMs) => ({
    newsMissing,
    workMs,
    createStorage: (clock: TestClock): Storage => Object.assign(memoryStorage({ clock }), { onRelease }),
  })),
);

/** One request that counts, and takes `workMs` milliseconds. @returns its outcome */
async function countUp(manager: SessionManager, { client, running }: Stage, workMs = 0) {
  const { result } = await testClient(client.cookie).visit(manager, async (attributes) => {
    attributes.count++;
    await new Promise<void>((resolve) => void running.clock.after(workMs, resolve));
  });
  return result.outcome;
}

/** Browsers that send requests to the first process one after the other, until they are dispersed. */
function crowdOf(browsers: number, stage: Stage, workMs: number) {
  let isOver = false;
  let done = 0;
  const browse = async () => {
    while (!isOver) if ((await countUp(stage.one, stage, workMs)) === "stored") done++;
  };
  const all = Array.from({ length: browsers }, browse);
  return {
    done: () => done,
    async disperse(): Promise<void> {
      isOver = true;
      await stage.running.clock.turn(10_000);
      await Promise.all(all);
    },
  };
}

describe("a process that waits for a lease", () => {
  it.each(deafWaiters)(
    "gets it within lockTimeoutMs though requests of another process come without end: $newsMissing, $workMs ms each",
    async ({ createStorage, workMs }) => {
      const stage = await begin({ locking: "all", createStorage });
      const two = stage.running.start("app2");
      const crowd = crowdOf(4, stage, workMs);
      await stage.running.clock.turn(10);

      let outcome: string | undefined;
      const visit = countUp(two, stage).then(
        (result) => {
          outcome = result;
        },
        (error: MsmError) => {
          outcome = error.code;
        },
      );
      for (let i = 0; i < 250 && outcome === undefined; i++) await stage.running.clock.turn(10);
      await crowd.disperse();
      await visit;

      expect(outcome).toBe("stored");
      expect((await attributesOf(two, stage.client.cookie)).count).toBe(crowd.done() + 1);
    },
  );
});
