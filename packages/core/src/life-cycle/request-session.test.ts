import { afterEach, describe, expect, it, vi } from "vitest";
import { createSessionManager } from "../manager.js";

const request = { method: "GET", url: "/", cookieHeader: undefined, secure: false };

afterEach(() => {
  vi.restoreAllMocks();
});

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
});
