import { describe, expect, it } from "vitest";
import { askStore } from "./ask-store.js";

describe("askStore", () => {
  const trouble = new Error("no store today");

  it("gives what the store calls back with", async () => {
    expect(await askStore<string>("get", 1000, (callback) => callback(null, "found"))).toBe("found");
    expect(await askStore("get", 1000, (callback) => callback())).toBeUndefined();
  });

  it.each([
    ["calls back with", (callback: (error: Error) => void) => callback(trouble)],
    ["rejects with", () => Promise.reject(trouble)],
    [
      "throws",
      () => {
        throw trouble;
      },
    ],
  ])("rejects with the error that a store %s", async (_, run) => {
    await expect(askStore("set", 1000, run)).rejects.toBe(trouble);
  });

  it("gives up a store that never calls back", async () => {
    await expect(askStore("destroy", 1, () => {})).rejects.toMatchObject({
      code: "MSM_ERR_STORAGE_TIMEOUT",
      message: expect.stringContaining("destroy()"),
    });
  });
});
