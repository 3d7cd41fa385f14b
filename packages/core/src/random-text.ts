import { randomFillSync } from "node:crypto";

/** Random bytes cost the same whether few or many are asked for. */
const pool = Buffer.alloc(4096);
let used = pool.length;

/** Text of so many random bytes, fit for secrets; each byte is given once. At most 4096 bytes. */
export function randomText(bytes: number, encoding: "hex" | "base64url"): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const from = used;
  used += bytes;
  const text = pool.toString(encoding, from, used);
  // Nothing that was given away stays where a dump of the memory would show it.
  pool.fill(0, from, used);
  return text;
}
