import { expect, it } from "vitest";
import { randomText } from "./random-text.js";

it("random text has the bytes that it was asked for, and never the same ones twice", () => {
  const texts = Array.from({ length: 5000 }, () => randomText(24, "hex"));

  expect(new Set(texts).size).toBe(texts.length);
  expect(texts.every((text) => /^[0-9a-f]{48}$/.test(text))).toBe(true);
  expect(texts.filter((text) => /0{12}/.test(text))).toEqual([]);
  expect(randomText(18, "base64url")).toMatch(/^[\w-]{24}$/);
});
