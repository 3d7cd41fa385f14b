import { describe, expect, it } from "vitest";
import type { NodeOptions } from "../options.js";
import { memoryStorage } from "../storage/memory.js";
import { memcachedOptionsOf } from "./memcached-node.js";
import { parseNodes, parseNodeUrl } from "./nodes-option.js";

function optionsOf(options: NodeOptions) {
  const node = parseNodes([options])[0]!;
  const address = parseNodeUrl(node.url ?? "");
  if (address.kind !== "memcached") throw new Error("expected a memcached node");
  return memcachedOptionsOf(node, address);
}

const ca = "-----BEGIN CERTIFICATE-----";

describe("a memcached node", () => {
  it("is what its url says, with what stands beside it", () => {
    expect(optionsOf({ url: "h:1" })).toMatchObject({ host: "h", port: 1 });
    expect(optionsOf({ url: "memcached+meta://h:1" })).toMatchObject({
      host: "h",
      port: 1,
      protocol: "meta",
    });
    const memcached = { protocol: "meta", username: "u", password: "p" } as const;
    expect(optionsOf({ url: "h:1", memcached })).toMatchObject({ host: "h", port: 1, ...memcached });
  });

  it("takes its certificates from beside a url that asks for TLS", () => {
    const tls = { rejectUnauthorized: true, servername: "cache" };

    expect(optionsOf({ url: "memcacheds://h:1", memcached: { tls } })).toMatchObject({
      protocol: "meta",
      tls,
    });
  });

  it.each<[NodeOptions, string]>([
    [
      { url: "h:1", memcached: { tls: true, protocol: "binary" } },
      'n1: memcached.protocol must be "meta" where there is tls, got "binary"',
    ],
    [
      { url: "memcacheds://h:1", memcached: { protocol: "binary" } },
      "n1: memcached.protocol is another than",
    ],
    [
      { url: "memcacheds://h:1", memcached: { tls: false } },
      "n1: memcached.tls is another than its url says",
    ],
    [{ url: "memcached://u:p@h:1", memcached: { username: "v" } }, "n1: memcached.username is another than"],
    [{ url: "h:1", memcached: { username: "u" } }, "password is missing"],
    [{ url: "h:1", memcached: { password: "p" } }, "username is missing"],
    [{ url: "memcached://u@h:1" }, "password is missing"],
    [{ url: "memcached+meta://a%20b:p@h:1" }, "n1: memcached.username must have no blank"],
    [{ url: "h:1", memcached: { tls: { ca, cert: ca } } }, "n1: memcached.tls must be what node:tls takes"],
    [{ url: "redis://h:1", memcached: { protocol: "meta" } }, "n1 must not have options of memcached"],
    [{ storage: memoryStorage(), memcached: { tls: true } }, "n1 must not have options of memcached"],
  ])("is refused at start where its options make no sense: %j", (options, message) => {
    expect(() => parseNodes([options])).toThrow("MSM_ERR_OPTION: node n1");
    expect(() => parseNodes([options])).toThrow(message);
  });

  it.each<[NodeOptions]>([
    [{ url: "memcached://u:hunter2@h:1", memcached: { password: "hunter3" } }],
    [{ url: "h:1", memcached: { username: "a b", password: "hunter2", protocol: "meta" } }],
    [{ url: "h:1", memcached: { tls: { key: "hunter2" } } }],
    [{ url: "memcached://u:hunter2@h:1/path" }],
    [{ url: "memcached://u:%hunter2@h:1" }],
  ])("is refused without a word of its secrets: %j", (options) => {
    expect(() => parseNodes([options])).toThrow(/^MSM_ERR_OPTION(?!.*hunter).*$/s);
  });
});
