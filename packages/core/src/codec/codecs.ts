import { MsmError } from "../errors.js";
import type { Codec } from "./codec.js";
import { jsonCodec } from "./json.js";

/** The codec that writes, and those whose records can still be read. */
export interface Codecs {
  readonly current: Codec;
  /** @throws MsmError MSM_ERR_CODEC where no codec of that name is known */
  byName(name: string): Codec;
}

/** Makes the set of codecs around the one that writes. */
export function createCodecs(current: Codec): Codecs {
  const known = new Map([jsonCodec, current].map((codec) => [codec.name, codec]));
  return {
    current,
    byName(name) {
      const codec = known.get(name);
      if (codec === undefined) throw new MsmError("MSM_ERR_CODEC", `no codec is called "${name}"`);
      return codec;
    },
  };
}
