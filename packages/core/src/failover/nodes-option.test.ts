import { describe, expect, it } from "vitest";
import { parseFailoverNodes, parseNodes, parseNodeUrl } from "./nodes-option.js";

const named = (...nodes: [id: string, url: string][]) => nodes.map(([id, url]) => ({ id, url }));

describe("parseNodes", () => {
  it.each<[string, [string, string][]]>([
    ["cache1:11211", [["n1", "cache1:11211"]]],
    [
      "n1:cache1:11211,n2:cache2:11211",
      [
        ["n1", "cache1:11211"],
        ["n2", "cache2:11211"],
      ],
    ],
    [
      "a:cache1:11211 b:cache2:11211",
      [
        ["a", "cache1:11211"],
        ["b", "cache2:11211"],
      ],
    ],
    [
      "a:cache1:11211, \n b:cache2:11211",
      [
        ["a", "cache1:11211"],
        ["b", "cache2:11211"],
      ],
    ],
    [
      "cache1:11211,cache2:11211",
      [
        ["n1", "cache1:11211"],
        ["n2", "cache2:11211"],
      ],
    ],
    ["redis://cache", [["n1", "redis://cache"]]],
    ["redis://cache:6379", [["n1", "redis://cache:6379"]]],
    ["redis://user:pass@cache:6379/1", [["n1", "redis://user:pass@cache:6379/1"]]],
    ["rediss://cache:6380", [["n1", "rediss://cache:6380"]]],
    [
      "a:redis://cache1:6379,b:redis://cache2:6379",
      [
        ["a", "redis://cache1:6379"],
        ["b", "redis://cache2:6379"],
      ],
    ],
    ["memcached://user:pass@cache:11211", [["n1", "memcached://user:pass@cache:11211"]]],
    ["a:[::1]:11211", [["a", "[::1]:11211"]]],
    ["[::1]:11211", [["n1", "[::1]:11211"]]],
  ])("reads %j", (text, nodes) => {
    expect(parseNodes(text)).toEqual(named(...nodes));
  });

  it("gives objects without an id the one of their position", () => {
    expect(parseNodes([{ url: "cache1:11211" }, { id: "b", url: "cache2:11211" }])).toEqual(
      named(["n1", "cache1:11211"], ["b", "cache2:11211"]),
    );
  });

  it.each<[string, string]>([
    ["", "at least one node"],
    ["n1:cache1:11211,n1:cache2:11211", "different ids"],
    ["http://cache", "redis://"],
  ])("refuses %j", (text, message) => {
    expect(() => parseNodes(text)).toThrow(message);
  });

  it("does not repeat a password that it refuses to read", () => {
    expect(() => parseNodes("http://user:hunter2@cache")).toThrow(/^(?!.*hunter2).*$/);
  });
});

describe("parseNodeUrl", () => {
  it("reads host and port of a memcached, 11211 where none is given", () => {
    expect(parseNodeUrl("cache1:11212")).toEqual({ kind: "memcached", host: "cache1", port: 11212 });
    expect(parseNodeUrl("memcached://cache1")).toEqual({ kind: "memcached", host: "cache1", port: 11211 });
    expect(parseNodeUrl("[::1]:11211")).toEqual({ kind: "memcached", host: "::1", port: 11211 });
  });

  it("decodes user and password", () => {
    expect(parseNodeUrl("memcached://us%40er:pa%3Ass@cache1:11211")).toMatchObject({
      username: "us@er",
      password: "pa:ss",
    });
  });
});

describe("parseFailoverNodes", () => {
  const nodes = parseNodes("n1:cache1:11211,n2:cache2:11211");

  it("reads a list or a text", () => {
    expect(parseFailoverNodes(["n2"], nodes)).toEqual(["n2"]);
    expect(parseFailoverNodes("n2", nodes)).toEqual(["n2"]);
    expect(parseFailoverNodes("", nodes)).toEqual([]);
  });

  it.each([
    ["n3", "n3"],
    ["n1,n2", "at least one"],
  ])("refuses %j", (ids, message) => {
    expect(() => parseFailoverNodes(ids, nodes)).toThrow(message);
  });
});
