import type { SessionRequest } from "@msm/core";
import { describe, expect, it } from "vitest";
import { readLocking } from "./locking.js";

describe("the demo's --locking", () => {
  it.each(["optimistic", "none", "all", "auto", "app"])("takes the mode %s as it is", (mode) => {
    expect(readLocking(mode)).toBe(mode);
  });

  it("makes a pattern of path:…, with colons and commas in it as they are", () => {
    expect(readLocking("path:^/counter")).toEqual(/^\/counter/);
    expect(readLocking("path:a:b{1,2}")).toEqual(/a:b{1,2}/);
  });

  it("makes a predicate of method:…, whatever the case", () => {
    const locks = readLocking("method:post,PUT") as (request: SessionRequest) => boolean;
    const lockedMethods = ["GET", "POST", "PUT", "DELETE"].filter((method) => locks(requestWith(method)));

    expect(lockedMethods).toEqual(["POST", "PUT"]);
  });

  it.each([
    ["", /; got ""$/],
    ["ALL", /; got "ALL"$/],
    ["path:", /; got "path:"$/],
    ["path:(", /; got "path:\(" \(Invalid regular expression/],
    ["method:", /; got "method:"$/],
    ["method:POST,", /; got "method:POST,"$/],
    ["method:PSOT", /; got "method:PSOT" \(there is no method PSOT\)$/],
    ["where:POST", /; got "where:POST"$/],
  ])("says what would do instead of %j", (given, end) => {
    expect(() => readLocking(given)).toThrow(
      /^--locking must be optimistic, none, all, auto, app, path:PATTERN/,
    );
    expect(() => readLocking(given)).toThrow(end);
  });
});

function requestWith(method: string): SessionRequest {
  return { method, url: "/", cookieHeader: undefined, secure: false };
}
