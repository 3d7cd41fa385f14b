import { createSecretKey } from "node:crypto";
import type { Request } from "express";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type CompatOptions, resolveCompatOptions, secretsFor } from "../src/compat-options.js";

const secret = "a secret";
const req = {} as Request;
const resolve = (options: object) => resolveCompatOptions({ secret, ...options } as CompatOptions);

afterEach(() => {
  vi.restoreAllMocks();
});

describe("resolveCompatOptions", () => {
  it("has the defaults of express-session 2 where nothing is said", () => {
    expect(resolve({})).toMatchObject({
      name: undefined,
      secrets: [secret],
      genid: undefined,
      resave: false,
      rolling: false,
      saveUninitialized: false,
      unset: "keep",
      isVersion1: false,
      cookie: {},
    });
  });

  it("has those of express-session 1 with `compat: 1`, and warns of those that will change", () => {
    const warn = vi.spyOn(process, "emitWarning").mockReturnValue();

    const resolved = resolve({ compat: 1, secret: undefined });

    expect(resolved).toMatchObject({ resave: true, saveUninitialized: true, rolling: false, unset: "keep" });
    expect(warn.mock.calls.map(([message]) => message)).toEqual([
      "req.secret; provide secret option",
      "undefined resave option; provide resave option",
      "undefined saveUninitialized option; provide saveUninitialized option",
    ]);
    expect(warn.mock.calls.map(([, options]) => options)).toEqual([
      { type: "DeprecationWarning", code: "MSM_DEP_REQ_SECRET" },
      { type: "DeprecationWarning", code: "MSM_DEP_UNDEFINED_RESAVE" },
      { type: "DeprecationWarning", code: "MSM_DEP_UNDEFINED_SAVE_UNINITIALIZED" },
    ]);
  });

  it("warns of nothing where all is said", () => {
    const warn = vi.spyOn(process, "emitWarning").mockReturnValue();

    resolve({ compat: 1, resave: false, saveUninitialized: false });

    expect(warn).not.toHaveBeenCalled();
  });

  it.each([
    [{ genid: "no function" }, TypeError, "genid option must be a function"],
    [{ unset: "sets" }, TypeError, 'unset option must be "destroy" or "keep"'],
    [{ secret: [] }, TypeError, "secret option array must contain one or more strings"],
    [{ secret: undefined }, TypeError, "secret option required for sessions"],
    [{ cookie: { maxAge: "1d" } }, TypeError, /maxAge must be a number of milliseconds, got 1d/],
    [{ cookie: 5 }, Error, /MSM_ERR_OPTION: cookie must be an object/],
    [{ cookie: { maxage: 5 } }, Error, /MSM_ERR_OPTION: there is no option cookie.maxage/],
    [{ cookie: { maxAge: 5, maxAgeMs: 5 } }, Error, /MSM_ERR_OPTION: cookie.maxAge, cookie.maxAgeMs/],
    [{ cookie: { expires: "soon" } }, Error, /MSM_ERR_OPTION: cookie.expires must be a Date/],
    [{ name: "a", cookie: { name: "b" } }, Error, /MSM_ERR_OPTION: name and cookie.name say the same/],
    [{ name: 5 }, Error, /MSM_ERR_OPTION: name must be a text/],
    [{ resave: "true" }, Error, /MSM_ERR_OPTION: resave must be true or false, got "true"/],
    [{ compat: 2 }, Error, /MSM_ERR_OPTION: compat must be 1/],
  ])("refuses %o", (options, kind, message) => {
    expect(() => resolve(options)).toThrow(kind);
    expect(() => resolve(options)).toThrow(message);
  });

  it("minds neither cookie options that it does not know nor what is truthy, with `compat: 1`", () => {
    const options = { compat: 1, resave: "false", saveUninitialized: 0, cookie: { maxage: 5 } };

    expect(resolve(options)).toMatchObject({ resave: true, saveUninitialized: false, cookie: { maxage: 5 } });
  });

  it("takes secrets of each kind, one or many", () => {
    const key = createSecretKey(Buffer.from("key"));

    expect(resolve({ secret: Buffer.from("bytes") }).secrets).toEqual([Buffer.from("bytes")]);
    expect(resolve({ secret: [key, "old"] }).secrets).toEqual([key, "old"]);
  });

  it("asks req.secret where none is given, and says with express-session's words that there must be one", () => {
    vi.spyOn(process, "emitWarning").mockReturnValue();
    const options = resolve({ compat: 1, secret: undefined });

    expect(secretsFor(options, { secret: "of cookie-parser" } as unknown as Request)).toEqual([
      "of cookie-parser",
    ]);
    expect(() => secretsFor(options, req)).toThrow("secret option required for sessions");
    expect(secretsFor(resolve({}), { secret: "another" } as unknown as Request)).toEqual([secret]);
  });

  it("gives one spelling of the cookie's options, which may be made for each request", () => {
    const made = resolve({ cookie: ({ path }: Request) => ({ path, maxAgeMs: 5, signed: true }) });

    expect(resolve({ cookie: { maxAgeMs: 60_000, domain: undefined } }).cookie).toEqual({ maxAge: 60_000 });
    expect(made.cookie).toBeUndefined();
    expect(made.cookieFor({ path: "/app" } as Request)).toEqual({ path: "/app", maxAge: 5 });
    expect(resolve({ key: "old", cookie: {} }).name).toBe("old");
    expect(resolve({ cookie: { name: "sid" } }).name).toBe("sid");
  });
});
