import { describe, expect, it } from "vitest";
import { readCommandLine } from "./options.js";

describe("the demo's command line", () => {
  it("needs the mode and nothing else", () => {
    expect(readCommandLine(["sticky"])).toEqual({ mode: "sticky" });
    expect(readCommandLine(["non-sticky"])).toEqual({ mode: "non-sticky" });
  });

  it("reads every flag, with or without the `--` that pnpm hands on", () => {
    const flags = [
      ...["--port", "0", "--storage", "redis", "--apps", "2", "--nodes", "4", "--locking", "optimistic"],
      ...["--backup", "async", "--single-node", "--failover-nodes", "n1,n2"],
    ];
    const options = {
      mode: "sticky",
      port: 0,
      storage: "redis",
      apps: 2,
      nodes: 4,
      locking: "optimistic",
      backup: "async",
      singleNode: true,
      failoverNodes: "n1,n2",
    };

    expect(readCommandLine(["sticky", ...flags])).toEqual(options);
    expect(readCommandLine(["sticky", "--", ...flags])).toEqual(options);
  });

  it.each(["none", "all", "auto", "app", "path:^/counter", "method:POST,PUT"])(
    "hands on --locking %s as it is",
    (locking) => {
      expect(readCommandLine(["sticky", "--locking", locking])).toEqual({ mode: "sticky", locking });
    },
  );

  it("knows when only help is wanted", () => {
    expect(readCommandLine(["--help"])).toBe("help");
  });

  it.each([
    [[], /the mode must be sticky or non-sticky, got ""/],
    [["sticky", "--port", "70000"], /--port must be a whole number from 0 to 65535, got "70000"/],
    [["sticky", "--port", "8080x"], /--port must be a whole number/],
    [["sticky", "--nodes", "-1"], /--nodes/],
    [["sticky", "--locking", "any"], /--locking must be optimistic, none, .*; got "any"/],
    [["sticky", "--backup", "never"], /--backup must be sync or async, got "never"/],
  ])("says what is wrong with %j", (args, words) => {
    expect(() => readCommandLine(args)).toThrow(words);
  });
});
