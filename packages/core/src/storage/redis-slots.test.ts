import { describe, expect, it } from "vitest";
import { SlotMap, slotOf } from "./redis-slots.js";

describe("the slot of a key", () => {
  // Values from CLUSTER KEYSLOT of Redis 7.0.15; the first stands in the specification as well (0x31C3).
  it.each([
    ["123456789", 12_739],
    ["", 0],
    ["foo", 12_182],
    ["{foo}:s", 12_182],
    ["a{foo}b{bar}", 12_182],
    ["{}foo", 9500],
    ["foo{", 7673],
    ["msm:{ÄÖ}", 12_186],
  ])("is that of Redis for %s", (key, slot) => {
    expect(slotOf(key)).toBe(slot);
  });
});

describe("a map of slots", () => {
  const asked = { host: "10.0.0.1", port: 7000 };

  it("knows the owner of each slot that it names, and none of the others", () => {
    const map = SlotMap.read(
      [
        [0, 5, ["10.0.0.2", 7001, "id"], ["10.0.0.3", 7002, "id"]],
        [7, 7, [null, 7003, "id"]],
      ],
      asked,
    );

    expect(map.ownerOf(0)).toEqual({ host: "10.0.0.2", port: 7001 });
    expect(map.ownerOf(5)).toEqual({ host: "10.0.0.2", port: 7001 });
    expect(map.ownerOf(6)).toBeUndefined();
    expect(map.ownerOf(7)).toEqual({ host: "10.0.0.1", port: 7003 });
    expect([...map.servers.keys()]).toEqual(["10.0.0.2:7001", "10.0.0.1:7003"]);
  });

  it("learns that a slot has moved", () => {
    const map = SlotMap.read([[0, 5, ["a", 1]]], asked);

    map.move(3, { host: "b", port: 2 });

    expect(map.ownerOf(3)).toEqual({ host: "b", port: 2 });
    expect(map.ownerOf(4)).toEqual({ host: "a", port: 1 });
    expect(map.servers.has("b:2")).toBe(true);
  });

  it.each([["OK"], [[1]], [[[0, 5]]], [[["0", 5, ["a", 1]]]], [[[0, 5, ["a"]]]]])(
    "is not read from %j",
    (reply) => {
      expect(() => SlotMap.read(reply, asked)).toThrow("MSM_ERR_STORAGE_PROTOCOL");
    },
  );
});
