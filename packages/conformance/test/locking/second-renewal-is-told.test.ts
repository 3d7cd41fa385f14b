import { expect, it } from "vitest";
import { attributesOf, begin, close, modes, open } from "./stage.js";

const renewal = { keep: "all", grace: true } as const;

for (const mode of modes)
  for (const where of ["in one process", "in two"])
    it(`onConflict "fail", two renewals at once ${where}: what is refused is told, ${mode}`, async () => {
      const { running, one, client } = await begin({ mode, onConflict: "fail" });
      const first = await open(one, client.cookie);
      const second = await open(where === "in two" ? running.start("app2") : one, client.cookie);
      for (const [i, { session }] of [first, second].entries()) {
        session!.attributes.count += 1;
        session!.attributes[`own${i}`] = 1;
        await session!.regenerate(renewal);
      }

      const ofFirst = await close(first);
      const ofSecond = await close(second);

      const attributes = await attributesOf(one, ofSecond.cookie ?? ofFirst.cookie);
      expect(ofSecond.outcome === "failed" || attributes.own1 === 1).toBe(true);
    });
