import { describe, expect, it } from "vitest";
import { ringMember } from "./connect.js";

const options = { failoverOnly: false, operationTimeoutMs: 250, onWarning: () => {} };

describe("a node of the ring", () => {
  it("is made anew where what its client is given changed, and is the same node at the same address", () => {
    const url = "rediss://host";
    const member = (ca: string) => ringMember({ id: "n1", url, redis: { tls: { ca } } }, options);
    const [before, after] = [member("old"), member("new")];

    expect(after.address).toBe(before.address);
    expect(after.settings).not.toBe(before.settings);
    expect(member("new").settings).toBe(after.settings);
  });
});
