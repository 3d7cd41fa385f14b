import type { Session } from "express-session";
import { describe, expect, it } from "vitest";
import { jsonOf, SessionMemory } from "./session-memory.js";

const sessionWith = (attributes: object) =>
  ({ ...attributes, id: "a", cookie: { path: "/" } }) as never as Session;

describe("SessionMemory", () => {
  it("takes a save back that failed, unless a later one did not", () => {
    const memory = new SessionMemory();
    const first = sessionWith({ n: 1 });
    const second = sessionWith({ n: 2 });
    memory.begin(sessionWith({ n: 0 }), true);

    const takeBackFirst = memory.noteSaved(first, jsonOf(first));
    takeBackFirst();
    expect(memory.isSaved(first, jsonOf(first))).toBe(false);
    memory.noteSaved(second, jsonOf(second));
    takeBackFirst();
    expect(memory.isSaved(second, jsonOf(second))).toBe(true);
  });

  it("does not mind the cookie, but attributes of that name inside of others", () => {
    const plain = jsonOf(sessionWith({ user: { cookie: 1 } }));

    expect(jsonOf({ ...sessionWith({ user: { cookie: 1 } }), cookie: {} } as Session)).toBe(plain);
    expect(jsonOf(sessionWith({ user: { cookie: 2 } }))).not.toBe(plain);
  });
});
