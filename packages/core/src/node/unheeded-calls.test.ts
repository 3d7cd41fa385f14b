import { describe, expect, it } from "vitest";
import { UnheededCalls } from "./unheeded-calls.js";

const error = new Error("it went wrong");

describe("UnheededCalls", () => {
  it("wait for what is under way, and reject with an error that nobody looked at, once", async () => {
    const calls = new UnheededCalls();
    void calls.note(new Promise((_, reject) => setImmediate(reject, error)));

    await expect(calls.settle()).rejects.toBe(error);
    await expect(calls.settle()).resolves.toBeUndefined();
  });

  it("reject with one that came before", async () => {
    const calls = new UnheededCalls();
    void calls.note(Promise.reject(error));
    await new Promise(setImmediate);

    await expect(calls.settle()).rejects.toBe(error);
  });

  it.each<[string, (call: Promise<void>) => unknown]>([
    [
      "await",
      async (call) => {
        try {
          await call;
        } catch {}
      },
    ],
    ["catch()", (call) => call.catch(() => {})],
    ["then()", (call) => call.then(undefined, () => {})],
    ["Promise.allSettled()", (call) => Promise.allSettled([call])],
  ])("leave an error to who looks at it, by %s", async (_how, heed) => {
    const calls = new UnheededCalls();
    await heed(calls.note(Promise.reject(error)));

    await expect(calls.settle()).resolves.toBeUndefined();
  });
});
