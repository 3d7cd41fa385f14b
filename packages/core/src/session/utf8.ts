/** Names are short: for these, a call out of JavaScript costs more than looking at each character. */
const shortChars = 24;

/** How many bytes a text takes in UTF-8. */
export function bytesIn(text: string): number {
  return isShortAscii(text) ? text.length : Buffer.byteLength(text);
}

/** Writes a text in UTF-8. @returns how many bytes it took */
export function writeText(text: string, bytes: Buffer, at: number): number {
  if (!isShortAscii(text)) return bytes.write(text, at);
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
  return text.length;
}

function isShortAscii(text: string): boolean {
  if (text.length > shortChars) return false;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** Short names that were read before, by a few of their bytes: sessions of one application have the same ones. */
const knownNames: (string | undefined)[] = Array.from({ length: 256 }, () => undefined);

/** Reads a text in UTF-8. */
export function readText(bytes: Buffer, from: number, to: number): string {
  const length = to - from;
  if (length === 0 || length > shortChars) return bytes.toString("utf8", from, to);
  const slot = (length + 7 * bytes[from]! + 31 * bytes[to - 1]!) & 0xff;
  const known = knownNames[slot];
  if (known !== undefined && isTextAt(known, bytes, from, to)) return known;
  const text = bytes.toString("utf8", from, to);
  if (isShortAscii(text)) knownNames[slot] = text;
  return text;
}

/** @param text of ASCII */
function isTextAt(text: string, bytes: Buffer, from: number, to: number): boolean {
  if (text.length !== to - from) return false;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== bytes[from + i]) return false;
  return true;
}
