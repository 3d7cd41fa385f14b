import { describe, expect, it } from "vitest";
import { EndedSessions } from "./ended-sessions.js";

describe("EndedSessions", () => {
  it("knows a session that ended after it was read, and not one that was read after its end", () => {
    const ended = new EndedSessions();
    const before = ended.moment();

    ended.begin("a");
    ended.finish("a");

    expect(ended.hasEnded("a", before)).toBe(true);
    expect(ended.hasEnded("a", ended.moment())).toBe(false);
    expect(ended.hasEnded("b", before)).toBe(false);
  });

  it("counts a session as ended while its end is under way, unless that fails", () => {
    const ended = new EndedSessions();

    ended.begin("a");
    expect(ended.hasEnded("a", ended.moment())).toBe(true);

    ended.forget("a");
    expect(ended.hasEnded("a", 0)).toBe(false);
  });

  it("remembers ten thousand ends", () => {
    const ended = new EndedSessions();

    for (let n = 0; n <= 10_000; n++) ended.begin(String(n));

    expect([ended.hasEnded("0", 0), ended.hasEnded("1", 0)]).toEqual([false, true]);
  });
});
