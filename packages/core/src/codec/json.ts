import { MsmError } from "../errors.js";
import type { Codec } from "./codec.js";

const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * The default codec: JSON in UTF-8. What JSON cannot tell apart is lost, as with express-session: a Date comes back as
 * text, undefined and functions inside objects are left out.
 */
export const jsonCodec: Codec = {
  name: "json",
  encode(value) {
    try {
      const text = JSON.stringify(value) as string | undefined;
      return text === undefined ? undefined : Buffer.from(text);
    } catch (error) {
      throw MsmError.from(error, "MSM_ERR_CODEC");
    }
  },
  decode(bytes) {
    try {
      const text = decoder.decode(bytes);
      return JSON.parse(text, prototypeKey.test(text) ? withoutPrototypeKeys : undefined);
    } catch (error) {
      throw MsmError.from(error, "MSM_ERR_CODEC");
    }
  },
};

/** Where the slow, careful parse is needed: the name stands there, or an escape that could spell it. */
const prototypeKey = /__proto__|\\u005f/i;

/** `{"__proto__": …}` makes an own property in JSON.parse, and a prototype in the first careless copy of it. */
function withoutPrototypeKeys(this: unknown, key: string, value: unknown): unknown {
  return key === "__proto__" ? undefined : value;
}
