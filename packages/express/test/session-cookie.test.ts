import { afterEach, describe, expect, it, vi } from "vitest";
import { createCookie } from "../src/session-cookie.js";

afterEach(() => {
  vi.restoreAllMocks();
});

describe("createCookie", () => {
  it("tells of another age, set as maxAge or as expires, and of none", () => {
    vi.spyOn(Date, "now").mockReturnValue(1_000_000);
    const ages: unknown[] = [];
    const cookie = createCookie({}, false, null, (ageMs) => ages.push(ageMs));

    cookie.maxAge = 60_000;
    cookie.expires = new Date(1_000_000 + 90_000);
    cookie.expires = null;

    expect(ages).toEqual([60_000, 90_000, null]);
  });

  it("does not take the clock's ticking for another age", () => {
    let now = 1_000_000;
    vi.spyOn(Date, "now").mockImplementation(() => now++);
    const onAgeChange = vi.fn();
    const cookie = createCookie({}, false, 60_000, onAgeChange);

    cookie.maxAge = 60_000;
    cookie.maxAge = cookie.originalMaxAge!;

    expect(cookie.originalMaxAge).toBe(60_000);
    expect(onAgeChange).not.toHaveBeenCalled();
  });

  it("shows the options, with `secure: auto` as the request came in", () => {
    const options = {
      path: "/app",
      domain: "a.example",
      partitioned: true,
      priority: "high",
      sameSite: "none",
    } as const;

    expect(createCookie({ ...options, secure: "auto" }, true, null, () => {})).toMatchObject({
      ...options,
      secure: true,
    });
    expect(createCookie({ secure: true }, false, null, () => {}).secure).toBe(true);
  });
});
