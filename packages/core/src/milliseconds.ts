import { MsmError } from "./errors.js";

/** Ten years, in milliseconds: longer than any session should last, and short enough for memcached's 32 bits of seconds. */
export const longestTimeMs = 10 * 366 * 24 * 60 * 60 * 1000;

/** Checks a time that somebody gave. @throws MsmError MSM_ERR_OPTION where it is no time of up to ten years */
export function milliseconds(name: string, value: unknown): number {
  if (typeof value === "number" && value > 0 && value <= longestTimeMs) return Math.ceil(value);
  const got = typeof value === "string" ? JSON.stringify(value) : String(value);
  throw new MsmError(
    "MSM_ERR_OPTION",
    `${name} must be a number of milliseconds above 0, ten years at most, got ${got}`,
  );
}
