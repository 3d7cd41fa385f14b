import { longestTimeMs } from "../milliseconds.js";
import type { Session } from "../session/session.js";

/**
 * The attribute in which adapters keep what a session's cookie was given that differs from the options, as express-session
 * does: so that a session shows the same cookie under all frameworks. Adapters show it as `cookie`, not as an attribute.
 */
export const cookieAttribute = "cookie";

/** What a session remembers of a cookie whose age was changed. Adapters may keep more in it. */
export interface StoredCookie {
  /** Milliseconds; null: until the browser is closed. */
  readonly originalMaxAge: number | null;
}

/** True where a stored value is what we, or express-session, keep of a cookie. */
export function isStoredCookie(value: unknown): value is StoredCookie {
  if (typeof value !== "object" || value === null || !("originalMaxAge" in value)) return false;
  return value.originalMaxAge === null || typeof value.originalMaxAge === "number";
}

/** The age that a session's cookie was given, in milliseconds; null: until the browser is closed; undefined: none. */
export function cookieAgeOf(session: Pick<Session, "attributes" | "has">): number | null | undefined {
  // Asked with each answer, and most sessions have none.
  if (!session.has(cookieAttribute)) return undefined;
  const stored: unknown = session.attributes[cookieAttribute];
  return isStoredCookie(stored) ? stored.originalMaxAge : undefined;
}

/**
 * Gives a session's cookie an age of its own, which the session remembers: it becomes the session's idle timeout as well.
 * @param ageMs null: until the browser is closed; the idle timeout then stays as it is
 */
export function setCookieAge(session: Session, ageMs: number | null): void {
  session.attributes[cookieAttribute] = { originalMaxAge: ageMs };
  if (ageMs === null || ageMs <= 0) return;
  // "For ever" is a common wish.
  session.idleTimeoutMs = Math.min(ageMs, longestTimeMs);
  session.cookieMaxAgeMs = Math.min(ageMs, longestTimeMs);
}

/**
 * Gives a Set-Cookie header another age.
 * @param maxAgeMs milliseconds; null: until the browser is closed
 */
export function withMaxAge(header: string, maxAgeMs: number | null): string {
  const others = header.split("; ").filter((attribute) => !/^(max-age|expires)=/i.test(attribute));
  if (maxAgeMs === null) return others.join("; ");
  const age = `Max-Age=${Math.floor(maxAgeMs / 1000)}`;
  const expires = `Expires=${new Date(Date.now() + maxAgeMs).toUTCString()}`;
  return [...others, age, expires].join("; ");
}
