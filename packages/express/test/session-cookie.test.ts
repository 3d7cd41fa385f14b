import type { Session } from "@msm/core";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type CookieSource, SessionCookie } from "../src/session-cookie.js";

afterEach(() => {
  vi.restoreAllMocks();
});

/** A session as far as its cookie knows it. */
const newSession = (cookie?: object) =>
  ({ attributes: cookie === undefined ? {} : { cookie }, idleTimeoutMs: 1 }) as unknown as Session;

const source: CookieSource = {
  given: { secure: "auto", sameSite: "lax" },
  isOfRequest: false,
  requestIsSecure: false,
  idleTimeoutMs: undefined,
};

describe("a session's cookie", () => {
  it("remembers another age at once, set as maxAge or as expires, and none", () => {
    vi.spyOn(Date, "now").mockReturnValue(1_000_000);
    const session = newSession();
    const { shown } = new SessionCookie(session, source);

    const ages = [() => (shown.maxAge = 60_000), () => (shown.expires = new Date(1_090_000))].map((set) => {
      set();
      return [session.attributes.cookie, session.idleTimeoutMs];
    });
    shown.expires = null;

    expect(ages).toEqual([
      [{ originalMaxAge: 60_000 }, 60_000],
      [{ originalMaxAge: 90_000 }, 90_000],
    ]);
    expect(session.attributes.cookie).toEqual({ originalMaxAge: null });
  });

  it("does not take the clock's ticking for another age", () => {
    let now = 1_000_000;
    vi.spyOn(Date, "now").mockImplementation(() => now++);
    const session = newSession();
    const { shown } = new SessionCookie(session, { ...source, given: { maxAge: 60_000 } });

    shown.maxAge = 60_000;
    shown.maxAge = shown.originalMaxAge!;

    expect(shown.originalMaxAge).toBe(60_000);
    expect(session.attributes.cookie).toBeUndefined();
  });

  it("shows the options, with what is auto as the request came in", () => {
    const given = { path: "/app", domain: "a.example", partitioned: true, priority: "high" } as const;
    const shownFor = (options: object, requestIsSecure: boolean) =>
      new SessionCookie(newSession(), { ...source, given: options, requestIsSecure }).shown;

    expect(shownFor({ ...given, secure: "auto", sameSite: "auto" }, true)).toMatchObject({
      ...given,
      secure: true,
      sameSite: "none",
    });
    expect(shownFor({ secure: "auto", sameSite: "auto" }, false)).toMatchObject({
      secure: false,
      sameSite: "lax",
    });
    expect(shownFor({ secure: true }, false).secure).toBe(true);
  });

  it("remembers what the application changed, beside what is as the options say", () => {
    const session = newSession();
    const cookie = new SessionCookie(session, { ...source, given: { domain: "a.example", maxAge: 5000 } });
    Object.assign(cookie.shown, { path: "/app", domain: undefined, httpOnly: false });

    cookie.remember();

    expect(session.attributes.cookie).toEqual({
      originalMaxAge: 5000,
      path: "/app",
      domain: null,
      httpOnly: false,
    });
    const again = new SessionCookie(session, { ...source, given: { domain: "b.example", priority: "low" } });
    expect(again.shown).toMatchObject({ path: "/app", httpOnly: false, priority: "low" });
    expect(again.shown.domain).toBeUndefined();
    expect(again.header("sid", "1")).toMatch(/^sid=1; Max-Age=5; Path=\/app; Expires=[^;]+; Priority=Low$/);
  });

  it("remembers nothing where nothing was changed, and all that was only this request's", () => {
    const sessions = [newSession(), newSession()] as const;
    const given = { domain: "a.example" };
    const cookies = sessions.map(
      (session, at) => new SessionCookie(session, { ...source, given, isOfRequest: at === 1 }),
    );

    void cookies[0]!.shown;
    cookies[0]!.remember();
    cookies[1]!.rememberAll();

    expect(sessions[0].attributes).toEqual({});
    expect(sessions[1].attributes.cookie).toEqual({
      originalMaxAge: null,
      path: "/",
      domain: "a.example",
      secure: null,
      httpOnly: true,
      sameSite: null,
      partitioned: null,
      priority: null,
    });
  });

  it("knows what express-session keeps of a cookie, and takes nothing else for one", () => {
    const stored = {
      originalMaxAge: 5000,
      expires: "2030-01-01T00:00:00.000Z",
      httpOnly: true,
      path: "/app",
    };

    expect(new SessionCookie(newSession(stored), source).shown).toMatchObject({
      originalMaxAge: 5000,
      path: "/app",
    });
    for (const other of [{}, { originalMaxAge: "5" }]) {
      expect(new SessionCookie(newSession(other), source).isRemembered).toBe(false);
    }
  });

  it("is sent with its age, or until the browser is closed, and cleared with its path and domain", () => {
    vi.spyOn(Date, "now").mockReturnValue(0);
    const header = (given: object) =>
      new SessionCookie(newSession(), { ...source, given: { ...source.given, ...given } }).header("sid", "1");

    expect(header({})).toBe("sid=1; Path=/; HttpOnly; SameSite=Lax");
    expect(header({ maxAge: 60_500 })).toBe(
      "sid=1; Max-Age=60; Path=/; Expires=Thu, 01 Jan 1970 00:01:00 GMT; HttpOnly; SameSite=Lax",
    );
    expect(header({ sameSite: true, partitioned: true })).toBe(
      "sid=1; Path=/; HttpOnly; Partitioned; SameSite=Strict",
    );
    const cleared = new SessionCookie(newSession(), {
      ...source,
      given: { path: "/a", domain: "a.example" },
    });
    expect(cleared.clearingHeader("sid")).toBe(
      "sid=; Max-Age=0; Domain=a.example; Path=/a; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly",
    );
  });

  it("that is for TLS is not sent without", () => {
    const given = { secure: true };

    expect(new SessionCookie(newSession(), { ...source, given }).header("sid", "1")).toBeUndefined();
    expect(
      new SessionCookie(newSession(), { ...source, given, requestIsSecure: true }).header("sid", "1"),
    ).toBe("sid=1; Path=/; HttpOnly; Secure");
  });
});
