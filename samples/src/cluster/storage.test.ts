import { describe, expect, it } from "vitest";
import { chooseStorage } from "./storage.js";

const installed =
  (...programs: string[]) =>
  (name: string) =>
    programs.includes(name) ? `/bin/${name}` : undefined;

describe("the choice of a storage", () => {
  it("is memcached, else Redis, else the embedded server, and says why", () => {
    expect(chooseStorage(undefined, installed("memcached", "redis-server"))).toMatchObject({
      kind: "memcached",
      why: "found /bin/memcached",
    });
    expect(chooseStorage(undefined, installed("redis-server"))).toMatchObject({
      kind: "redis",
      why: "found /bin/redis-server",
    });
    expect(chooseStorage(undefined, installed())).toMatchObject({
      kind: "embedded",
      why: "neither memcached nor redis-server was found on PATH",
    });
  });

  it("is what was asked for", () => {
    expect(chooseStorage("embedded", installed("memcached")).kind).toBe("embedded");
    expect(chooseStorage("redis", installed("memcached", "redis-server")).kind).toBe("redis");
  });

  it("is no other than what was asked for, where that is not installed", () => {
    expect(() => chooseStorage("redis", installed("memcached"))).toThrow(/no redis-server on PATH/);
  });
});
