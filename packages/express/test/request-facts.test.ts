import { describe, expect, it } from "vitest";
import { type AnyRequest, originalPathOf, originalUrlOf, securityBy } from "../src/request-facts.js";

const request = (facts: object) => ({ socket: {}, headers: {}, ...facts }) as AnyRequest;
const encrypted = request({ socket: { encrypted: true } });
const forwarded = (protocol: string, secure?: boolean) =>
  request({ headers: { "x-forwarded-proto": protocol }, secure });

describe("securityBy", () => {
  it("takes TLS to us for secure, whatever is said of proxies", () => {
    for (const proxy of [true, false, undefined]) {
      expect(securityBy(proxy)(encrypted)).toBe(true);
      expect(securityBy(proxy)(request({}))).toBe(false);
    }
  });

  it("believes a proxy as told: by the first X-Forwarded-Proto, not at all, or by Express", () => {
    expect(
      ["https", "HTTPS, http", " https ,http"].map((value) => securityBy(true)(forwarded(value))),
    ).toEqual([...[true, true, true]]);
    expect(["http", "http,https", ""].some((value) => securityBy(true)(forwarded(value)))).toBe(false);
    expect(securityBy(false)(forwarded("https", true))).toBe(false);
    expect(securityBy(undefined)(forwarded("https", true))).toBe(true);
    expect(securityBy(undefined)(forwarded("https", false))).toBe(false);
    expect(securityBy(undefined)(forwarded("https"))).toBe(false);
  });
});

describe("originalPathOf", () => {
  it("gives the path that the client sent", () => {
    expect(originalPathOf(request({ url: "/a/b?c=/d" }))).toBe("/a/b");
    expect(originalPathOf(request({ url: "/b", originalUrl: "/a/b#c" }))).toBe("/a/b");
    expect(originalPathOf(request({ url: "http://other.example/a?b" }))).toBe("/a");
    expect(originalPathOf(request({ url: "//other.example/a" }))).toBe("//other.example/a");
    expect(originalPathOf(request({ url: "" }))).toBe("/");
    expect(originalPathOf(request({ url: "*" }))).toBe("*");
    expect(originalUrlOf(request({ url: "/b", originalUrl: "/a/b?c" }))).toBe("/a/b?c");
  });
});
