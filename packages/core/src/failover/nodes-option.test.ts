import { describe, expect, it } from "vitest";
import type { NodeOptions } from "../options.js";
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
    [
      "redis+sentinel://s1:26379,s2/sessions,cache:11211",
      ["n1=redis+sentinel://s1:26379,s2/sessions", "n2=cache:11211"],
    ],
    [
      "a:rediss+cluster://u:pw@r1:7000 r2:7001,b:cache:11211",
      ["a=rediss+cluster://u:pw@r1:7000,r2:7001", "b=cache:11211"],
    ],
    ["redis+unix:///run/redis.sock?db=1", ["n1=redis+unix:///run/redis.sock?db=1"]],
    ["x1:memcached://user:pass@c:11211", ["x1=memcached://user:pass@c:11211"]],
    ["n1:memcacheds://a:1,memcached+meta://b", ["n1=memcacheds://a:1", "n2=memcached+meta://b"]],
    ["n1:memcached+meta://b:2", ["n1=memcached+meta://b:2"]],
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

  it("gives a node an address that Redis' options name, and leaves it the others", () => {
    const tls = { ca: "the authority" };
    const sentinels = [{ host: "s1", port: 1 }, { host: "::1" }];

    expect(
      parseNodes([
        { redis: { sentinels, name: "sessions", tls } },
        { redis: { cluster: ["r1:7000", "r2"], password: "secret" } },
        { redis: { host: "r3", port: 7, db: 2 } },
        { redis: { path: "/run/redis.sock" } },
        { url: "rediss://r4", redis: { tls } },
      ]),
    ).toEqual([
      { id: "n1", url: "redis+sentinel://s1:1,[::1]:26379/sessions", redis: { tls } },
      { id: "n2", url: "redis+cluster://r1:7000,r2:6379", redis: { password: "secret" } },
      { id: "n3", url: "redis://r3:7", redis: { db: 2 } },
      { id: "n4", url: "redis+unix:///run/redis.sock", redis: {} },
      { id: "n5", url: "rediss://r4", redis: { tls } },
    ]);
  });

  it.each<[string, NodeOptions, string]>([
    ["sentinels without a name", { redis: { sentinels: [{ host: "s1" }] } }, "needs the name"],
    ["sentinels without a name in their address", { url: "redis+sentinel://s1,s2" }, "needs the name"],
    ["no sentinels", { redis: { sentinels: [], name: "sessions" } }, "at least one"],
    ["no servers of a cluster", { redis: { cluster: [] } }, "at least one server"],
    [
      "a cluster and sentinels",
      { redis: { cluster: ["r1"], sentinels: [{ host: "s1" }] } },
      "either a cluster",
    ],
    ["a cluster twice", { url: "redis+cluster://r1", redis: { cluster: ["r1"] } }, "beside a url"],
    ["a cluster that is a url", { redis: { cluster: ["redis://r1:7000/0"] } }, '"host:port"'],
    ["a database of a cluster", { url: "redis+cluster://r1?db=1" }, "database 0"],
    ["a host without a port number", { url: "redis+cluster://r1:x" }, 'got "r1:x"'],
    ["options that lead nowhere", { redis: { db: 1 } }, "must have a url, a host"],
    ["options that are none", { url: "redis://r1", redis: JSON.parse("1") }, "an object"],
    ["options of Redis for memcached", { url: "cache:11211", redis: { db: 1 } }, "not have options of Redis"],
    ["a key prefix", { url: "redis://r1", redis: { keyPrefix: "x:" } }, "keyPrefix"],
    ["a scheme that there is not", { url: "redis+cloud://r1" }, "redis+sentinel"],
    ["a password that is not encoded", { url: "redis://:100%@r1" }, "percent-encoded"],
  ])("refuses %s", (_what, node, message) => {
    expect(() => parseNodes([node])).toThrow(message);
    expect(() => parseNodes([node])).toThrow("MSM_ERR_OPTION");
  });

  it.each([
    "n1:ftp://user:hunter2@host",
    "redis://:hunter2",
    "redis://user:hunter2",
    "redis://:hunter2,more@host",
    "redis://:hunter2@",
    "redis://user:hunter2%@host",
    "redis+sentinel://:hunter2@s1,s2",
    "redis+sentinel://:hunter2,x@s1/name",
    "redis+cluster://user:hunter2@r1:x",
    "redis+cluster://user:hunter2%@r1",
    "redis+cloud://:hunter2@r1",
  ])("says no password in a message about %s", (text) => {
    for (const nodes of [text, [{ url: text }]]) {
      try {
        parseNodes(nodes);
      } catch (error) {
        expect(String(error)).not.toContain("hunter2");
      }
    }
  });

  it("knows where a url leads", () => {
    expect(parseNodeUrl("cache:11311")).toEqual({ kind: "memcached", host: "cache", port: 11311 });
    expect(parseNodeUrl("cache")).toEqual({ kind: "memcached", host: "cache", port: 11211 });
    expect(parseNodeUrl("[::1]:1")).toEqual({ kind: "memcached", host: "::1", port: 1 });
    expect(parseNodeUrl("memcached://u:p%40@c:2")).toMatchObject({ username: "u", password: "p@" });
    expect(parseNodeUrl("rediss://c")).toEqual({ kind: "redis", url: "rediss://c" });
    expect(parseNodeUrl("memcached+meta://c")).toEqual({
      kind: "memcached",
      host: "c",
      port: 11211,
      protocol: "meta",
    });
    expect(parseNodeUrl("memcacheds://u:p@[::1]:3")).toEqual({
      kind: "memcached",
      host: "::1",
      port: 3,
      protocol: "meta",
      tls: true,
      username: "u",
      password: "p",
    });
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
