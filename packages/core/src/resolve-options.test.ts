import { describe, expect, it } from "vitest";
import type { SessionManagerOptions } from "./options.js";
import { resolveOptions } from "./resolve-options.js";

const secret = "a secret of at least 32 bytes, surely";
const resolve = (options: Record<string, unknown>) =>
  resolveOptions({ secret, ...options } as SessionManagerOptions);

describe("the options", () => {
  it("have the documented defaults", () => {
    expect(resolve({})).toMatchObject({
      mode: { kind: "non-sticky" },
      keyPrefix: "msm",
      cookie: { name: "sid", path: "/", httpOnly: true, secure: "auto", sameSite: "lax", partitioned: false },
      idleTimeoutMs: 1_800_000,
      absoluteTimeoutMs: undefined,
      onConflict: "last-write-wins",
      onStorageError: "reject",
      operationTimeoutMs: 250,
      maxRecordBytes: 524_288,
      closeTimeoutMs: 5000,
    });
    expect(resolve({ mode: "sticky", route: "app1" }).mode).toEqual({
      kind: "sticky",
      route: "app1",
      backup: "sync",
      backupTimeoutMs: 1000,
      maxBackupLagMs: 250,
      maxLocalSessions: 100_000,
    });
  });

  it("are not changed by being resolved", () => {
    const options = Object.freeze({ secret, cookie: Object.freeze({ name: "x" }) });

    expect(resolveOptions(options).cookie.name).toBe("x");
  });

  it.each([
    [{ secret: "short" }, /secret must be a text of at least 32 bytes; make one with/],
    [{ secret: [] }, /secret/],
    [{ secret: undefined }, /secret/],
    [{ secret: [secret, "short"] }, /secret/],
    [{ mode: "stiky" }, /mode must be "sticky" or "non-sticky", got "stiky"/],
    [{ mode: "sticky" }, /route must be/],
    [{ mode: "sticky", route: "app.1" }, /route must be .*, got "app.1"/],
    [{ route: "app1" }, /no option route \(non-sticky\)/],
    [
      { idleTimeoutMs: 0 },
      /idleTimeoutMs must be a number of milliseconds above 0, ten years at most, got 0/,
    ],
    [{ idleTimeoutMs: "1h" }, /idleTimeoutMs .* got "1h"/],
    [{ absoluteTimeoutMs: -1 }, /absoluteTimeoutMs/],
    [{ keyPrefix: "a:b" }, /keyPrefix .* got "a:b"/],
    [{ codec: "xml" }, /codec must be "json"/],
    [{ codec: { name: "TOO LONG NAME", encode() {}, decode() {} } }, /codec/],
    [
      { locking: "ALL" },
      /locking must be "optimistic" or "none" or "all" or "auto" or "app", a RegExp or a function, got "ALL"/,
    ],
    [{ locking: "none", onConflict: "fail" }, /locking "none" needs onConflict "last-write-wins"/],
    [{ onLockTimeout: "ignore" }, /onLockTimeout must be "error" or "optimistic", got "ignore"/],
    [{ lockTimeoutMs: 0 }, /lockTimeoutMs must be a number of milliseconds above 0/],
    [{ leaseTtlMs: 5000, maxLeaseMs: 4000 }, /leaseTtlMs 5000 needs a maxLeaseMs that is no less/],
    [{ onConflict: "merge" }, /onConflict/],
    [{ onStorageError: "ignore" }, /onStorageError/],
    [{ maxRecordBytes: 10 }, /maxRecordBytes must be a whole number of at least 1024, got 10/],
    [{ cookie: { maxAge: 1 } }, /no option cookie.maxAge \(cookie\); there are .*cookie.maxAgeMs/],
    [{ cookie: { name: "a b" } }, /cookie.name/],
    [{ cookie: { path: "/a;b" } }, /cookie.name, path and domain/],
    [{ cookie: { domain: "a\r\nb" } }, /cookie.name, path and domain/],
    [{ cookie: { name: "__Host-sid" } }, /"__Host-sid" needs cookie.secure: true/],
    [{ cookie: { name: "__Host-sid", secure: true, path: "/x" } }, /needs cookie.path/],
    [{ cookie: { sameSite: "none", secure: false } }, /needs cookie.secure/],
    [{ cookie: { secure: "yes" } }, /cookie.secure must be true, false or "auto", got "yes"/],
    [{ ttl: 5 }, /no option ttl \(non-sticky\); there are mode, secret/],
  ])("refuse %j", (options, message) => {
    expect(() => resolve(options)).toThrow(message);
    expect(() => resolve(options)).toThrow("MSM_ERR_OPTION");
  });

  it("never say a secret", () => {
    expect(() => resolve({ secret: "hunter2" })).toThrow(/^(?!.*hunter2).*$/s);
  });
});
