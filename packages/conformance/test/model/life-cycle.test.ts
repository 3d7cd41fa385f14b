import fc from "fast-check";
import { describe, it, vi } from "vitest";
import { repeatableNumber } from "./chance.js";
import { anyCommands, anySetting, renewals } from "./commands.js";
import { runsOf, storiesEach } from "./runs.js";
import { play } from "./story.js";

vi.mock(import("node:crypto"), async (original) => {
  const { repeatableBytes } = await import("./chance.js");
  const crypto = await original();
  return { ...crypto, randomBytes: repeatableBytes as typeof crypto.randomBytes };
});

vi.spyOn(Math, "random").mockImplementation(repeatableNumber);

describe("whatever a storage does with requests and replies", () => {
  for (const mode of ["non-sticky", "sticky"] as const) {
    it(`keeps every promise: ${mode}, ${storiesEach} stories`, async () => {
      await fc.assert(
        fc.asyncProperty(anySetting(mode), anyCommands, fc.scheduler(), play),
        runsOf(storiesEach),
      );
    }, 3_000_000);

    it(`keeps every promise while sessions get new ids: ${mode}, ${storiesEach} stories`, async () => {
      await fc.assert(
        fc.asyncProperty(anySetting(mode), renewals, fc.scheduler(), play),
        runsOf(storiesEach),
      );
    }, 3_000_000);
  }
});
