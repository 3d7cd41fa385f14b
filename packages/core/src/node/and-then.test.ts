import { describe, expect, it } from "vitest";
import { andThen } from "./and-then.js";

describe("andThen", () => {
  it("goes on at once with a value that is there", () => {
    expect(andThen(1, (value) => value + 1)).toBe(2);
  });

  it("goes on with what a promise gives, and rejects as it does", async () => {
    const failed = new Error("no");

    await expect(andThen(Promise.resolve(1), (value) => value + 1)).resolves.toBe(2);
    await expect(andThen(Promise.reject(failed), () => 2)).rejects.toBe(failed);
  });
});
