import { afterEach, describe, expect, it, vi } from "vitest";
import { createSessionManager, type SessionManager } from "../manager.js";

const request = { method: "GET", url: "/", cookieHeader: undefined, secure: false };

afterEach(() => {
  vi.restoreAllMocks();
});

async function openedBy(manager: SessionManager) {
  const exchange = await manager.open(request);
  return { session: exchange.session!, end: () => exchange.end() };
}

describe("a session", () => {
  it("says which attributes it has, and whether there are any, without decoding one", async () => {
    const manager = createSessionManager({
      secret: "a secret of more than 32 bytes, for tests",
      mode: "non-sticky",
    });
    const first = await manager.open(request);
    expect(first.session?.isEmpty).toBe(true);
    Object.assign(first.session!.attributes, { user: { name: "Anna" }, theme: "dark" });
    await first.commit();
    const [cookieHeader] = first.cookie()!.split(";");
    await first.end();
    const second = await manager.open({ ...request, cookieHeader });
    const decoding = vi.spyOn(JSON, "parse");

    const session = second.session!;
    const before = [session.isEmpty, session.has("user"), session.has("name")];

    expect(before).toEqual([false, true, false]);
    expect(decoding).not.toHaveBeenCalled();
    delete session.attributes.user;
    expect(session.has("user")).toBe(false);
    expect(session.isEmpty).toBe(false);
    delete session.attributes.theme;
    expect(session.isEmpty).toBe(true);
    await second.end();
    await manager.close();
  });

  it("has an adapter's members beside its attributes, by the adapter's rules", async () => {
    const manager = createSessionManager({
      secret: "a secret of more than 32 bytes, for tests",
      mode: "non-sticky",
    });
    const { session, end } = await openedBy(manager);
    const own = Symbol("own");
    class Members {
      readonly #cookie = { path: "/" };
      get [own]() {
        return this.#cookie;
      }
      get cookie() {
        return this[own];
      }
      lock() {
        return "a member";
      }
    }
    const rules = {
      yielding: new Set(["lock"]),
      listed: ["cookie"],
      isOwn: (name: string) => name.startsWith("_"),
    };
    const object = session.attributesWith(new Members() as object as Record<string, unknown>, rules);

    Object.assign(object, { user: "Anna", _note: 1 });
    const before = Reflect.apply(object.lock as () => unknown, object, []);
    object.lock = "an attribute";

    expect({ ...object }).toEqual({ cookie: { path: "/" }, _note: 1, user: "Anna", lock: "an attribute" });
    expect(Object.keys(object)).toEqual(["cookie", "_note", "user", "lock"]);
    expect(before).toBe("a member");
    expect({ ...session.attributes }).toEqual({ user: "Anna", lock: "an attribute" });
    expect(["cookie" in object, "_other" in object, "other" in object]).toEqual([true, true, false]);
    delete object._note;
    delete object.lock;
    expect(Object.keys(object)).toEqual(["cookie", "user"]);
    expect(Object.getOwnPropertyDescriptor(object, "cookie")).toMatchObject({ enumerable: true });
    await end();
    await manager.close();
  });
});
