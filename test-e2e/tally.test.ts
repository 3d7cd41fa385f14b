import { describe, expect, it } from "vitest";
import { Tally } from "./tally.js";
import type { Click } from "./visitor.js";

const unanswered: Click = { kind: "unanswered", why: "502" };

function tallied(...clicks: readonly (number | "unanswered")[]): Tally {
  const tally = new Tally();
  for (const click of clicks)
    tally.add(click === "unanswered" ? unanswered : { kind: "counted", counter: click });
  return tally;
}

describe("a tally of clicks", () => {
  it("takes each number that is the one before plus one", () => {
    expect(tallied(0, 1, 2)).toMatchObject({ counted: 3, last: 2, countedUnanswered: 0 });
  });

  it("lets an unanswered click have counted or not", () => {
    expect(tallied(0, "unanswered", 1)).toMatchObject({ counted: 2, countedUnanswered: 0 });
    expect(tallied(0, "unanswered", 2)).toMatchObject({ counted: 2, countedUnanswered: 1 });
  });

  it.each([
    ["a lost count", [0, 1, 1]],
    ["a session that began anew", [0, 1, 2, 0]],
    ["a number too many", [0, 2]],
    ["more than the unanswered clicks explain", [0, "unanswered", 3]],
    ["an old number after an unanswered click", [0, 1, "unanswered", 1]],
    ["slack that was used up before", [0, "unanswered", 1, 3]],
  ] as const)("throws on %s", (_what, clicks) => {
    expect(() => tallied(...clicks)).toThrow(/ after /);
  });
});
