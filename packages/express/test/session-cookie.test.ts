import { afterEach, describe, expect, it, vi } from "vitest";
import { createCookie, isStoredCookie, withMaxAge } from "../src/session-cookie.js";

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

describe("withMaxAge", () => {
  const header = "sid=1; Max-Age=5; Path=/; Expires=Thu, 01 Jan 1970 00:00:05 GMT; HttpOnly";

  it("puts another age in the place of the one that stands there", () => {
    vi.spyOn(Date, "now").mockReturnValue(0);

    expect(withMaxAge(header, 60_500)).toBe(
      "sid=1; Path=/; HttpOnly; Max-Age=60; Expires=Thu, 01 Jan 1970 00:01:00 GMT",
    );
  });

  it("takes the age away where the cookie shall end with the browser", () => {
    expect(withMaxAge(header, null)).toBe("sid=1; Path=/; HttpOnly");
  });
});

describe("isStoredCookie", () => {
  it("knows what is kept of a cookie, ours and express-session's, from anything else", () => {
    expect([{ originalMaxAge: null }, { originalMaxAge: 5, path: "/" }].every(isStoredCookie)).toBe(true);
    expect([undefined, null, "cookie", {}, { originalMaxAge: "5" }].some(isStoredCookie)).toBe(false);
  });
});
