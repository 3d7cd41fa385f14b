import { memoryStorage } from "@msm/core";
import { session } from "@msm/koa";
import Koa from "koa";
import { afterEach, describe, expect, it, vi } from "vitest";
import { MemoryStore } from "./memory-store.js";
import { newManager, secret } from "./running.js";

afterEach(() => {
  vi.restoreAllMocks();
});

/** What `session()` throws, in TypeScript's eyes with anything. */
function thrownBy(options: unknown, app: Koa = new Koa()): unknown {
  try {
    session(options as object, app);
    return undefined;
  } catch (error) {
    return error;
  }
}

const refusal = (message: string) =>
  expect.objectContaining({ code: "MSM_ERR_OPTION", message: `MSM_ERR_OPTION: ${message}` });

describe("session()", () => {
  it("needs an application, in koa-session's words", () => {
    for (const args of [[], [{}], [{ secret }, { secret }], [undefined, null]])
      expect(() => Reflect.apply(session, undefined, args)).toThrow(
        new TypeError("app instance required: `session(opts, app)`"),
      );
  });

  it.each<[object, string]>([
    [{ secret, maxAge: "long" }, 'maxAge must be a number of milliseconds above 0, or "session", got "long"'],
    [{ secret, autoCommit: 1 }, "autoCommit must be true or false, got 1"],
    [{ secret, rolling: "yes" }, 'rolling must be true or false, got "yes"'],
    [{ secret, externalKey: {} }, "externalKey.get must be a function, got undefined"],
    [{ secret, externalKey: 1 }, "externalKey must be an object with get(ctx) and set(ctx, id), got 1"],
    [{ secret, genid: "id" }, 'genid must be a function, got "id"'],
    [{ secret, valid: true }, "valid must be a function, got true"],
    [{ secret, beforeSave: {} }, "beforeSave must be a function, got an object"],
    [{ secret, prefix: 1 }, "prefix must be a text, got 1"],
    [{ secret, sameSite: "loose" }, 'sameSite must be "strict", "lax", "none", true or false, got "loose"'],
    [
      { secret, signed: false },
      "signed makes no sense here, got false: msm's cookie is always signed; leave it out, and give a `secret`",
    ],
    [
      { secret, encode: () => "" },
      "encode makes no sense here, got a function: sessions are not kept in the cookie, but on nodes, in a codec's bytes: see `codec`",
    ],
    [
      { secret, expires: new Date(0) },
      "expires makes no sense here, got an object: a cookie has an age: see `maxAge`, and `absoluteTimeoutMs` for sessions",
    ],
    [
      { secret, key: "a", cookie: { name: "b" } },
      'key makes no sense here, got "a": give it within `cookie`, or leave `cookie` out',
    ],
    [
      { store: new MemoryStore(), nodes: "cache1" },
      'nodes makes no sense here, got "cache1": beside a store; leave the store out to have msm\'s nodes',
    ],
    [{ store: {} }, "store.get must be a function, got undefined"],
    [{ store: 7 }, "store must be an object with get, set and destroy, got 7"],
    [{ ContextStore: {} }, "ContextStore must be a class, got an object"],
    [{ ContextStore: class {} }, "ContextStore.prototype.get must be a function, got undefined"],
    [{ store: new MemoryStore(), key: "" }, 'key must be a cookie\'s name, got ""'],
    [
      { store: new MemoryStore(), absoluteTimeoutMs: -1 },
      "absoluteTimeoutMs must be a number of milliseconds above 0, got -1",
    ],
    [
      { secret, previous: { signed: false }, store: undefined },
      "previous.signed makes no sense here, got false: whatever a client puts into its cookie would be believed",
    ],
    [
      { secret, previous: {} },
      "previous.keys must be a list of texts or a Keygrip, where app.keys are not set, got undefined",
    ],
    [
      {},
      "secret must be a text of at least 32 bytes, or app.keys be set before session() is called; got neither",
    ],
  ])("refuses %o", (options, message) => {
    expect(thrownBy(options)).toEqual(refusal(message));
  });

  it("refuses what is the manager's beside a manager", () => {
    expect(thrownBy({ manager: newManager(), maxAge: 1000 })).toEqual(
      refusal(
        "maxAge makes no sense here, got 1000: the manager has its options, give it to createSessionManager()",
      ),
    );
  });

  it("refuses options that nobody knows", () => {
    expect(thrownBy({ secret, maxAgee: 1 })).toEqual(
      expect.objectContaining({ message: expect.stringContaining("there is no option maxAgee") }),
    );
  });

  it("cannot derive secrets from a Keygrip, and warns of keys that are short", () => {
    const emitWarning = vi.spyOn(process, "emitWarning").mockReturnValue();
    const app = new Koa();
    app.keys = { sign() {}, verify() {} } as never;

    expect(thrownBy({}, app)).toEqual(
      refusal(
        "app.keys must be a list of texts where session() has no `secret` (a Keygrip does not tell its keys), got an object",
      ),
    );
    app.keys = ["short"];
    expect(thrownBy({ nodes: [{ storage: memoryStorage() }] }, app)).toBeUndefined();
    expect(emitWarning).toHaveBeenCalledWith(expect.stringContaining("shorter than 32 bytes"), {
      code: "MSM_WARN_SHORT_KEYS",
    });
  });

  it("takes `maxage` for `maxAge`, and says so; and never changes what it is given", () => {
    const emitWarning = vi.spyOn(process, "emitWarning").mockReturnValue();
    const options = Object.freeze({ store: new MemoryStore(), maxage: 1000 });

    expect(thrownBy(options)).toBeUndefined();

    expect(emitWarning).toHaveBeenCalledWith("`maxage` is called `maxAge`", expect.anything());
  });

  it("takes what asks for what msm does anyway", () => {
    const options = { secret, signed: true, overwrite: true, sameSite: "Strict", secure: false, maxAge: 0 };

    expect(thrownBy(options)).toBeUndefined();
  });
});
