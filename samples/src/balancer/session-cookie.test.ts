import { describe, expect, it } from "vitest";
import { sessionName } from "../session-name.js";
import { readSessionCookie, sessionAfter } from "./session-cookie.js";

const id = "0123456789abcdef".repeat(3);
const mac = "m".repeat(43);

describe("the session cookie, as the balancer reads it", () => {
  it("names the session, its node and its route", () => {
    expect(readSessionCookie(`a=b; sid=${id}-n1-${mac}.app1; c=d`, "sid")).toEqual({
      session: sessionName(id),
      node: "n1",
      route: "app1",
    });
  });

  it("has no route in non-sticky mode", () => {
    expect(readSessionCookie(`sid=${id}-n2-${mac}`, "sid")).toMatchObject({ node: "n2", route: undefined });
  });

  it.each([undefined, "", "sid=", "sid=x.app1", `xsid=${id}-n1-${mac}.app1`, `sid=${id}-n1-short.app1`])(
    "is none in %j",
    (header) => {
      expect(readSessionCookie(header, "sid")).toBeUndefined();
    },
  );

  it("is what the response makes of it", () => {
    const before = readSessionCookie(`sid=${id}-n1-${mac}.app1`, "sid");

    expect(sessionAfter(before, [], "sid")).toBe(before);
    expect(sessionAfter(before, ["a=b"], "sid")).toBe(before);
    expect(sessionAfter(before, [`sid=${id}-n2-${mac}.app3; Path=/`], "sid")).toMatchObject({
      node: "n2",
      route: "app3",
    });
    expect(sessionAfter(before, ["sid=; Max-Age=0"], "sid")).toBeUndefined();
  });
});
