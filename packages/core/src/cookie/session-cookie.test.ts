import { randomBytes, randomInt } from "node:crypto";
import { serialize } from "cookie";
import { describe, expect, it } from "vitest";
import { systemClock } from "../clock.js";
import { newSessionId } from "../session/session-id.js";
import { deriveKeys } from "./keys.js";
import { createSessionCookies } from "./session-cookie.js";

const options = {
  name: "sid",
  path: "/",
  domain: undefined,
  httpOnly: true,
  secure: "auto",
  sameSite: "lax",
  maxAgeMs: undefined,
  partitioned: false,
  priority: undefined,
} as const;
const oldSecret = "an old secret of more than 32 bytes!";
const newSecret = "a new secret of more than 32 bytes!!";
const cookiesWith = (...secrets: string[]) =>
  createSessionCookies(options, deriveKeys(secrets).cookie, systemClock);

describe("the session cookie", () => {
  const cookies = cookiesWith(newSecret);
  const id = newSessionId();

  it("gives back what it was made of", () => {
    const value = cookies.value(id, "n1", "app1");

    expect(value).toMatch(/^[0-9a-f]{48}-n1-[\w-]{43}\.app1$/);
    expect(cookies.read(`a=b; sid=${value}; c=d`)).toEqual({
      id,
      node: "n1",
      route: "app1",
      value,
      isCurrent: true,
    });
    expect(cookies.read(`sid=${cookies.value(id, "n1", undefined)}`)?.route).toBeUndefined();
  });

  it("is signed with the first secret and verified with all", () => {
    const old = `sid=${cookiesWith(oldSecret).value(id, "n1", undefined)}`;
    const both = cookiesWith(newSecret, oldSecret);

    expect(both.read(old)?.id).toBe(id);
    expect(cookies.read(old)).toBeUndefined();
    expect(cookies.read(`sid=${both.value(id, "n1", undefined)}`)?.id).toBe(id);
    expect(both.read(old)?.isCurrent).toBe(false);
  });

  it("is not accepted with another node, id or MAC, whichever character is changed", () => {
    const value = cookies.value(id, "n1", undefined);

    for (let at = 0; at < value.length; at++) {
      const other = value[at] === "0" ? "1" : "0";
      const changed = `${value.slice(0, at)}${other}${value.slice(at + 1)}`;
      // The last character of base64url of 32 bytes carries 4 bits only; a MAC is compared as text all the same.
      expect(cookies.read(`sid=${changed}`), changed).toBeUndefined();
    }
  });

  it("is refused as ever beside one that was accepted a moment ago", () => {
    const value = cookies.value(id, "n1", "app1");
    const forged = `${value.slice(0, -6)}${value.at(-6) === "A" ? "E" : "A"}${value.slice(-5)}`;

    const read = [value, forged, value, value.replace("n1", "n2"), value].map(
      (each) => cookies.read(`sid=${each}`)?.value,
    );

    expect(read).toEqual([value, undefined, value, undefined, value]);
  });

  it("is found behind others of its name that do not verify, up to the fourth", () => {
    const value = cookies.value(id, "n1", undefined);

    expect(cookies.read(`sid=forged; sid=x; sid=; sid=${value}`)?.id).toBe(id);
    expect(cookies.read(`sid=1; sid=2; sid=3; sid=4; sid=${value}`)).toBeUndefined();
  });

  it("has the attributes of the options", () => {
    expect(cookies.header("v", { secure: false })).toBe("sid=v; Path=/; HttpOnly; SameSite=Lax");
    expect(cookies.header("v", { secure: true })).toBe("sid=v; Path=/; HttpOnly; Secure; SameSite=Lax");
    expect(cookies.header("v", { secure: false, maxAgeMs: 60_000 })).toMatch(/Max-Age=60; .*Expires=/);
    expect(cookies.clearingHeader({ secure: false })).toMatch(/^sid=; Max-Age=0; .*Expires=Thu, 01 Jan 1970/);
  });

  it("says at any time what a cookie of that time says", () => {
    let nowMs = 1_700_000_000_000;
    const timed = createSessionCookies(options, deriveKeys([newSecret]).cookie, {
      ...systemClock,
      now: () => nowMs,
    });

    for (let round = 0; round < 200; round++) {
      nowMs += randomInt(0, 700);
      const secure = randomInt(0, 2) === 0;
      const maxAgeMs = [undefined, 500, 60_000][randomInt(0, 3)];
      const lasting =
        maxAgeMs === undefined
          ? {}
          : { maxAge: Math.floor(maxAgeMs / 1000), expires: new Date(nowMs + maxAgeMs) };
      const { path, httpOnly, sameSite, partitioned } = options;

      expect(timed.header(`v${round}`, { secure, maxAgeMs })).toBe(
        serialize("sid", `v${round}`, { path, httpOnly, sameSite, partitioned, secure, ...lasting }),
      );
    }
  });

  it("is not made of a value that no cookie may have", () => {
    expect(() => cookies.header("a; Domain=evil.example", { secure: false })).toThrow(
      "argument val is invalid",
    );
  });

  it("accepts none of 100,000 random and mutated headers, and throws on none", () => {
    const value = cookies.value(id, "n1", "app1");
    const signed = value.slice(0, -".app1".length);
    let accepted = 0;

    for (let round = 0; round < 100_000; round++) {
      const header = round % 2 === 0 ? randomHeader() : `sid=${mutated(value)}`;
      const read = cookies.read(header);
      // The route is not signed: a mutation that only touched it leaves the same session.
      if (read !== undefined && !read.value.startsWith(signed)) accepted++;
    }

    expect(accepted).toBe(0);
  });
});

const randomHeader = () => {
  const noise = randomBytes(randomInt(200)).toString("latin1");
  return randomInt(2) === 0 ? noise : `sid=${noise}; sid=${noise}`;
};

function mutated(value: string): string {
  const at = randomInt(value.length);
  const noise = String.fromCharCode(randomInt(256));
  switch (randomInt(4)) {
    case 0:
      return value.slice(0, at) + noise + value.slice(at + 1);
    case 1:
      return value.slice(0, at);
    case 2:
      return value.slice(0, at) + noise + value.slice(at);
    default:
      return value.slice(at) + value.slice(0, at);
  }
}
