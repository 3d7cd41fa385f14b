import { type CipherKey, createHmac, timingSafeEqual } from "node:crypto";

/** Signs an id as express-session does: `s:<id>.<HMAC-SHA256, base64 without padding>`. */
export const signedValue = (id: string, secret: CipherKey): string => `s:${id}.${signatureOf(id, secret)}`;

/** The id in a cookie's value, where one of the secrets signed it. */
export function idIn(value: string, secrets: readonly CipherKey[]): string | undefined {
  if (!value.startsWith("s:")) return undefined;
  const dot = value.lastIndexOf(".");
  if (dot === -1) return undefined;
  const id = value.slice(2, dot);
  const signature = Buffer.from(value.slice(dot + 1));
  return secrets.some((secret) => isSame(Buffer.from(signatureOf(id, secret)), signature)) ? id : undefined;
}

/** As many cookies of one name are looked at: a client may send thousands, and each costs a signature. */
const mostCandidates = 4;

/** The values of the first four cookies of this name, in the order in which the client sent them. */
export function cookieValues(header: string, name: string): string[] {
  const values = header.split(";").flatMap((pair) => {
    const equals = pair.indexOf("=");
    return equals !== -1 && pair.slice(0, equals).trim() === name ? [pair.slice(equals + 1)] : [];
  });
  return values.slice(0, mostCandidates).map(decoded);
}

const signatureOf = (id: string, secret: CipherKey) =>
  createHmac("sha256", secret).update(id).digest("base64").replace(/=+$/, "");

const isSame = (one: Buffer, other: Buffer) => one.length === other.length && timingSafeEqual(one, other);

/** As the library `cookie` does it: quotes go, and what cannot be decoded stays as it is. */
function decoded(text: string): string {
  const trimmed = text.trim();
  const value = trimmed.startsWith('"') ? trimmed.slice(1, -1) : trimmed;
  if (!value.includes("%")) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
