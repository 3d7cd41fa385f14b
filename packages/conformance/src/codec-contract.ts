import { randomBytes } from "node:crypto";
import { type Codec, MsmError } from "@msm/core";
import { describe, expect, it } from "vitest";

/** What every codec gives back as it was: the values that JSON knows. */
const values: readonly (readonly [title: string, value: unknown])[] = [
  ["null", null],
  ["true", true],
  ["false", false],
  ["zero", 0],
  ["a fraction", -1234.5678],
  ["the largest safe integer", Number.MAX_SAFE_INTEGER],
  ["a number near nothing", 5e-324],
  ["an empty string", ""],
  ["a string with quotes, lines and zeros", 'a"b\\c\r\n\u0000d\u2028e'],
  ["letters beyond the first plane", "ſ 你好 👩‍👩‍👧 𝒳 \u{10FFFF}"],
  ["an empty list", []],
  ["a list with gaps of null", [1, null, [2, [null]], "x"]],
  ["an empty object", {}],
  ["an object with odd names", { "": 1, " ": 2, "a.b": 3, 0: 4, length: 5, ключ: 6 }],
  ["names that objects have", { toString: "a", hasOwnProperty: 1, valueOf: null }],
  ["a cart", { user: { id: 17, name: "Ada" }, items: [{ sku: "a-1", count: 2, price: 9.95 }], open: true }],
  ["a long string", "long ".repeat(20_000)],
  ["a long list", Array.from({ length: 5000 }, (_, index) => ({ index }))],
];

/**
 * Everything that the docstrings of `Codec` promise, as tests. A new codec starts with
 * `codecContract("mine", mine)`.
 */
export function codecContract(name: string, codec: Codec): void {
  const encoded = (value: unknown): Uint8Array => {
    const bytes = codec.encode(value);
    if (!bytes) throw new Error("this value has bytes");
    return bytes;
  };

  describe(`codec contract: ${name}`, () => {
    it("has a name that fits into a record", () => {
      expect(codec.name).toMatch(/^[a-z0-9]{1,8}$/);
    });

    it.each(values)("gives %s back as it was", (_title, value) => {
      expect(codec.decode(encoded(value))).toEqual(value);
    });

    it("gives deep values back as they were", () => {
      let value: unknown = "the bottom";
      for (let depth = 0; depth < 200; depth += 1) value = depth % 2 ? [value] : { in: value };

      expect(codec.decode(encoded(value))).toEqual(value);
    });

    it("gives the same bytes for the same value", () => {
      for (const [, value] of values) {
        expect(Buffer.from(encoded(structuredClone(value)))).toEqual(Buffer.from(encoded(value)));
      }
    });

    it("gives other bytes for another value", () => {
      const all = values.map(([, value]) => Buffer.from(encoded(value)).toString("latin1"));

      expect(new Set(all).size).toBe(values.length);
    });

    it("does not change what it encodes", () => {
      const value = Object.freeze({ list: Object.freeze([1, Object.freeze({ deep: true })]) });

      expect(() => codec.encode(value)).not.toThrow();
    });

    it("gives a value of its own with each decode", () => {
      const bytes = encoded({ list: [1] });
      const first = codec.decode(bytes) as { list: number[] };
      first.list.push(2);

      expect(codec.decode(bytes)).toEqual({ list: [1] });
    });

    it("decodes bytes that lie in the middle of a buffer", () => {
      const bytes = encoded({ text: "here" });
      const around = Buffer.concat([randomBytes(7), bytes, randomBytes(7)]);

      expect(codec.decode(around.subarray(7, 7 + bytes.length))).toEqual({ text: "here" });
    });

    it("has no bytes for undefined, or gives it back", () => {
      const bytes = codec.encode(undefined);

      if (bytes !== undefined) expect(codec.decode(bytes)).toBeUndefined();
    });

    it("encodes a function, a symbol and a circle as nothing, or refuses them", () => {
      const circle: Record<string, unknown> = {};
      circle.self = circle;

      for (const value of [() => 1, Symbol("s"), circle]) {
        const encode = () => codec.encode(value);
        if (refusalOf(encode) === undefined) codec.decode(encode() ?? encoded(null));
      }
    });

    it("refuses, or survives, what throws while it is read", () => {
      const hostile = {
        get trap() {
          throw new Error("from a getter");
        },
      };

      expect(["MSM_ERR_CODEC", undefined]).toContain(refusalOf(() => codec.encode(hostile)));
    });

    it("never throws anything but MSM_ERR_CODEC on bytes that were cut off", () => {
      const bytes = encoded({ user: { id: 17, name: "Ada" }, list: [1, 2, 3], text: "ſ 👩‍👩‍👧" });

      for (let length = 0; length < bytes.length; length += 1) {
        const code = refusalOf(() => codec.decode(bytes.slice(0, length)));
        expect(["MSM_ERR_CODEC", undefined]).toContain(code);
      }
      expect(refusalOf(() => codec.decode(new Uint8Array(0)))).toBe("MSM_ERR_CODEC");
    });

    it("never throws anything but MSM_ERR_CODEC on bytes that were spoilt", () => {
      const bytes = encoded({ user: { id: 17, name: "Ada" }, list: [1, 2, 3], text: "x".repeat(50) });

      for (let round = 0; round < 2000; round += 1) {
        const spoilt = new Uint8Array(bytes);
        const at = (round * 7919) % spoilt.length;
        spoilt[at] = (spoilt[at]! + 1 + (round % 255)) % 256;
        expect(["MSM_ERR_CODEC", undefined]).toContain(refusalOf(() => codec.decode(spoilt)));
      }
    });

    it("never throws anything but MSM_ERR_CODEC on noise", () => {
      for (let round = 0; round < 500; round += 1) {
        const noise = randomBytes(1 + (round % 64));
        expect(["MSM_ERR_CODEC", undefined]).toContain(refusalOf(() => codec.decode(noise)));
      }
    });

    it.each(["__proto__", "constructor", "prototype"])(
      "never lets a name change what objects are (%s)",
      (name) => {
        const own = { polluted: "yes" };
        const vectors: unknown[] = [
          withOwn(name, own),
          { deep: withOwn(name, own) },
          [withOwn(name, own)],
          withOwn(name, { prototype: own, __proto__: own }),
        ];

        for (const vector of vectors) {
          const decode = () => codec.decode(encoded(vector));
          if (refusalOf(decode) !== undefined) continue;
          const decoded = decode();
          expect(pollutedIn(decoded)).toBe(false);
        }
        expect(pollutedIn({})).toBe(false);
        expect(pollutedIn([])).toBe(false);
      },
    );
  });
}

/** An object that owns a property, whatever its name means to JavaScript. */
function withOwn(name: string, value: unknown): object {
  return Object.defineProperty({}, name, { value, enumerable: true, configurable: true, writable: true });
}

/** Whether an object, or one in it, got a property by way of its prototype. */
function pollutedIn(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const inherited = "polluted" in value && !Object.hasOwn(value, "polluted");
  return inherited || Object.values(value).some(pollutedIn);
}

/** The code of the MsmError that `run` throws; undefined where it throws nothing; rethrown where it is another's. */
function refusalOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof MsmError) return thrown.code;
    throw thrown;
  }
}
