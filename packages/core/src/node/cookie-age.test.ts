import { afterEach, describe, expect, it, vi } from "vitest";
import { isStoredCookie, withMaxAge } from "./cookie-age.js";

afterEach(() => {
  vi.restoreAllMocks();
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
