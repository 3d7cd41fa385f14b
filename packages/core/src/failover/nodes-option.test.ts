import { describe, expect, it } from "vitest";
import { memoryStorage } from "../storage/memory.js";
import { parseFailoverNodes, parseNodes, parseNodeUrl } from "./nodes-option.js";

const pairs = (nodes: Parameters<typeof parseNodes>[0]) =>
  parseNodes(nodes).map(({ id, url }) => `${id}=${url}`);

describe("the nodes option", () => {
  it.each([
    ["n1:cache1:11211,n2:cache2:11211", ["n1=cache1:11211", "n2=cache2:11211"]],
    ["n1:cache1:11211 n2:cache2:11211", ["n1=cache1:11211", "n2=cache2:11211"]],
    [" a:cache1:11211,\n b:cache2:11211 ", ["a=cache1:11211", "b=cache2:11211"]],
    ["localhost:11211", ["n1=localhost:11211"]],
    ["cache1:11211,cache2:11212", ["n1=cache1:11211", "n2=cache2:11212"]],
    ["redis://host", ["n1=redis://host"]],
    ["redis://host:6380", ["n1=redis://host:6380"]],
    ["n1:redis://:pw@a:1/2,n2:rediss://b", ["n1=redis://:pw@a:1/2", "n2=rediss://b"]],
    ["x1:memcached://user:pass@c:11211", ["x1=memcached://user:pass@c:11211"]],
    ["[::1]:11211", ["n1=[::1]:11211"]],
    ["n7:[::1]:11211", ["n7=[::1]:11211"]],
  ])("reads %s", (text, expected) => {
    expect(pairs(text)).toEqual(expected);
  });

  it("reads objects, and names those without an id by their position", () => {
    const storage = memoryStorage();

    expect(parseNodes([{ id: "a", url: "h:1" }, { storage }])).toEqual([
      { id: "a", url: "h:1" },
      { id: "n2", storage },
    ]);
  });

  it.each([
    ["", "at least one node"],
    ["n1:a:1,n1:b:2", '"n1" twice'],
    ["http://host", "redis://host:port"],
    ["a/b:x", "host:port"],
  ])("refuses %s with a message that says why", (text, message) => {
    expect(() => parseNodes(text)).toThrow(message);
    expect(() => parseNodes(text)).toThrow("MSM_ERR_OPTION");
  });

  it("refuses a node with both a url and a storage, or neither", () => {
    expect(() => parseNodes([{ id: "a" }])).toThrow("either a url or a storage");
    expect(() => parseNodes([{ id: "a", url: "h:1", storage: memoryStorage() }])).toThrow(
      "either a url or a storage",
    );
  });

  it("says no password in a message", () => {
    expect(() => parseNodes("n1:ftp://user:hunter2@host")).toThrow(/^(?!.*hunter2).*$/s);
  });

  it("knows where a url leads", () => {
    expect(parseNodeUrl("cache:11311")).toEqual({ kind: "memcached", host: "cache", port: 11311 });
    expect(parseNodeUrl("cache")).toEqual({ kind: "memcached", host: "cache", port: 11211 });
    expect(parseNodeUrl("[::1]:1")).toEqual({ kind: "memcached", host: "::1", port: 1 });
    expect(parseNodeUrl("memcached://u:p%40@c:2")).toMatchObject({ username: "u", password: "p@" });
    expect(parseNodeUrl("rediss://c")).toEqual({ kind: "redis", url: "rediss://c" });
  });
});

describe("the failoverNodes option", () => {
  const nodes = parseNodes("n1:a:1,n2:b:2,n3:c:3");

  it("is text or a list of ids", () => {
    expect(parseFailoverNodes("n1, n2", nodes)).toEqual(["n1", "n2"]);
    expect(parseFailoverNodes(["n3"], nodes)).toEqual(["n3"]);
    expect(parseFailoverNodes(" ", nodes)).toEqual([]);
  });

  it("names known nodes, and not all of them", () => {
    expect(() => parseFailoverNodes("n9", nodes)).toThrow('got "n9"');
    expect(() => parseFailoverNodes("n1 n2 n3", nodes)).toThrow("at least one");
  });
});
