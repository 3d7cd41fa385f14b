import { describe, expect, it } from "vitest";
import type { Clock } from "../clock.js";
import { routeOf } from "./locking.js";
import { ReadOnlyRoutes } from "./read-only-routes.js";

function clockAt(start: { ms: number }): Clock {
  return { now: () => start.ms, monotonicMs: () => start.ms, after: () => () => {} };
}

function begin() {
  const time = { ms: 0 };
  const routes = new ReadOnlyRoutes(clockAt(time), { threshold: 3, ttlMs: 1000, mostRoutes: 3 });
  const read = (route: string, times = 1) => {
    for (let i = 0; i < times; i++) routes.note(route, false);
  };
  return { time, routes, read };
}

describe("routes that only read", () => {
  it("are known by so many requests that changed nothing", () => {
    const { routes, read } = begin();
    expect(routes.onlyReads("a")).toBe(false);
    read("a", 2);
    expect(routes.onlyReads("a")).toBe(false);
    read("a");
    expect(routes.onlyReads("a")).toBe(true);
    expect(routes.onlyReads("b")).toBe(false);
  });

  it("are none that changed something, before or after", () => {
    const { routes, read } = begin();
    read("a", 3);
    routes.note("a", true);
    read("a", 5);
    routes.note("b", true);
    read("b", 5);

    expect([routes.onlyReads("a"), routes.onlyReads("b")]).toEqual([false, false]);
  });

  it("are forgotten after a time, however often they are asked for", () => {
    const { time, routes, read } = begin();
    read("a", 3);
    time.ms = 600;
    read("a", 3);
    time.ms = 999;
    expect(routes.onlyReads("a")).toBe(true);

    time.ms = 1000;
    expect(routes.onlyReads("a")).toBe(false);
    read("a", 2);
    expect(routes.onlyReads("a")).toBe(false);
  });

  it("that changed something are not tried again while they do", () => {
    const { time, routes, read } = begin();
    for (time.ms = 0; time.ms < 3000; time.ms += 500) {
      routes.note("a", true);
      read("a", 3);
      expect(routes.onlyReads("a")).toBe(false);
    }
  });

  it("are remembered for so many, the last seen longest", () => {
    const { routes, read } = begin();
    for (const route of ["a", "b", "c"]) read(route, 3);
    read("a");
    read("d", 3);

    expect(["a", "b", "c", "d"].map((route) => routes.onlyReads(route))).toEqual([true, false, true, true]);
    expect(routes.size).toBe(3);
  });
});

describe("the route of a request", () => {
  it.each([
    ["/", "GET /"],
    ["/cart?item=3#top", "GET /cart"],
    ["/items/42", "GET /items/:id"],
    ["/items/42/parts/7", "GET /items/:id/parts/:id"],
    ["/api/v2/users", "GET /api/v2/users"],
    ["/users/7d793037-a076-4918-9d5b-1f8b3b1a2c3d/edit", "GET /users/:id/edit"],
    [`/t/${"x".repeat(40)}`, "GET /t/:id"],
    ["", "GET "],
  ])("%j is %j", (url, route) => {
    expect(routeOf({ method: "GET", url })).toBe(route);
  });

  it("is the framework's pattern where that is known", () => {
    expect(routeOf({ method: "POST", url: "/items/42", routePattern: "/items/:item" })).toBe(
      "POST /items/:item",
    );
  });
});
