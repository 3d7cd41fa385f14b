import { createHmac, hash } from "node:crypto";

const blockBytes = 64;
const digestBytes = 32;

/** Messages that are longer go to `createHmac`: there hashing takes the time, and no message of that size is kept here. */
const longestShortBytes = 16_384;

/** What is hashed: the padded key, then the message; and the padded key, then the inner hash. Used from call to call. */
const inner = Buffer.alloc(blockBytes + longestShortBytes);
const outer = Buffer.alloc(blockBytes + digestBytes);

/** A part of what a MAC covers: text of one byte per character, or bytes from one place to another. */
export type MacPart = string | { readonly bytes: Buffer; readonly from: number; readonly to: number };

/**
 * HMAC-SHA256 (RFC 2104) with one key. For short messages it is made of two hashes of one call each: `createHmac` makes an
 * object outside of JavaScript for each MAC, which costs several times what the hashing does.
 */
export class MacKey {
  readonly #key: Buffer;
  readonly #innerPad: Buffer;
  readonly #outerPad: Buffer;

  /** @param key 64 bytes at most */
  constructor(key: Buffer) {
    if (key.length > blockBytes) throw new RangeError(`a MAC's key has ${blockBytes} bytes at most`);
    this.#key = key;
    this.#innerPad = Buffer.alloc(blockBytes, 0x36);
    this.#outerPad = Buffer.alloc(blockBytes, 0x5c);
    key.forEach((byte, at) => {
      this.#innerPad[at] = byte ^ 0x36;
      this.#outerPad[at] = byte ^ 0x5c;
    });
  }

  /** The MAC of all parts, one behind the other, as text; "binary": each character is a byte. */
  of(parts: readonly MacPart[], encoding: "binary" | "base64url"): string {
    let length = 0;
    for (const part of parts) length += typeof part === "string" ? part.length : part.to - part.from;
    if (length > longestShortBytes) return this.#ofLong(parts, encoding);

    this.#innerPad.copy(inner);
    let at = blockBytes;
    for (const part of parts) {
      at +=
        typeof part === "string"
          ? inner.write(part, at, "latin1")
          : part.bytes.copy(inner, at, part.from, part.to);
    }
    this.#outerPad.copy(outer);
    outer.write(hash("sha256", inner.subarray(0, at), "binary"), blockBytes, "latin1");
    return hash("sha256", outer, encoding);
  }

  #ofLong(parts: readonly MacPart[], encoding: "binary" | "base64url"): string {
    const hmac = createHmac("sha256", this.#key);
    for (const part of parts) {
      if (typeof part === "string") hmac.update(part, "latin1");
      else hmac.update(part.bytes.subarray(part.from, part.to));
    }
    return hmac.digest(encoding);
  }
}
