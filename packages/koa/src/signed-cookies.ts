import { createHmac, timingSafeEqual } from "node:crypto";

/** A Keygrip, or what takes its place. */
export interface KeySet {
  verify(data: string, signature: string): boolean;
}

/** Whether a cookie's signature holds. */
export type Verify = (data: string, signature: string) => boolean;

/** Of more cookies of one name than this, the others are not looked at. */
const mostCandidates = 4;

/** Verifies as koa's `ctx.cookies` does by these keys; undefined where they are none. */
export function verifierOf(keys: unknown): Verify | undefined {
  if (Array.isArray(keys) && keys.length > 0)
    return (data, signature) => keys.some((key) => isSame(sign(data, String(key)), signature));
  if (typeof keys !== "object" || keys === null || !("verify" in keys)) return undefined;
  const keySet = keys as KeySet;
  return typeof keySet.verify === "function"
    ? (data, signature) => keySet.verify(data, signature)
    : undefined;
}

/** Of the cookies with this name, the values whose signature, in another cookie, holds. */
export function signedValues(header: string, name: string, verify: Verify): string[] {
  const signatures = cookieValues(header, `${name}.sig`);
  return cookieValues(header, name).filter((value) =>
    signatures.some((signature) => verify(`${name}=${value}`, signature)),
  );
}

/** Values of the cookies with this name, in order. */
export function cookieValues(header: string, name: string): string[] {
  return header
    .split(";")
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .slice(0, mostCandidates)
    .map((pair) => pair.slice(name.length + 1).replace(/^"(.*)"$/, "$1"));
}

/** As Keygrip signs by default. */
const sign = (data: string, key: string) => createHmac("sha1", key).update(data).digest("base64url");

function isSame(one: string, other: string): boolean {
  const [first, second] = [Buffer.from(one), Buffer.from(other)];
  return first.length === second.length && timingSafeEqual(first, second);
}
