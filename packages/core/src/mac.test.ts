import { createHmac, randomBytes, randomInt } from "node:crypto";
import { describe, expect, it } from "vitest";
import { MacKey } from "./mac.js";

const whole = (bytes: Buffer) => ({ bytes, from: 0, to: bytes.length });

describe("a MAC", () => {
  // RFC 4231, test cases 1 to 4, as far as their keys are no longer than a block.
  it.each([
    ["0b".repeat(20), "4869205468657265", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"],
    [
      "4a656665",
      "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ],
    ["aa".repeat(20), "dd".repeat(50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"],
    [
      "0102030405060708090a0b0c0d0e0f10111213141516171819",
      "cd".repeat(50),
      "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ],
  ])("is what RFC 4231 says of the key %s", (key, data, mac) => {
    const made = new MacKey(Buffer.from(key, "hex")).of([whole(Buffer.from(data, "hex"))], "binary");

    expect(Buffer.from(made, "latin1").toString("hex")).toBe(mac);
  });

  it.each([0, 1, 63, 64, 65, 500, 16_384, 16_385, 100_000])(
    "is what createHmac makes of %i bytes, in parts of either kind",
    (length) => {
      const key = randomBytes(32);
      const message = randomBytes(length);
      const [first, second] = [randomInt(0, length + 1), randomInt(0, length + 1)].sort((a, b) => a - b);
      const parts = [
        message.toString("latin1", 0, first),
        { bytes: message, from: first!, to: second! },
        message.toString("latin1", second),
      ];

      expect(new MacKey(key).of(parts, "base64url")).toBe(
        createHmac("sha256", key).update(message).digest("base64url"),
      );
    },
  );

  it("takes no key that is longer than a block", () => {
    expect(() => new MacKey(randomBytes(65))).toThrow("64 bytes at most");
  });
});
