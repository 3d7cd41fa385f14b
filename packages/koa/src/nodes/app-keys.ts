import { hkdfSync } from "node:crypto";
import { MsmError } from "@msm/core";
import { wrongOption } from "../check.js";

/** A key of an application that koa-session would take, and that may be guessed. */
const leastKeyBytes = 32;

/**
 * Gives the secrets that take the place of a missing `secret`: one derived from each of `app.keys`, so that the list
 * rotates as it does for signed cookies: the first signs, all verify.
 * @throws MsmError MSM_ERR_OPTION where there are no keys, or nothing can be derived from them
 */
export function secretsOf(keys: unknown): readonly string[] {
  if (keys === undefined || keys === null) {
    throw new MsmError(
      "MSM_ERR_OPTION",
      "secret must be a text of at least 32 bytes, or app.keys be set before session() is called; got neither",
    );
  }
  if (!Array.isArray(keys) || keys.length === 0 || !keys.every((key) => typeof key === "string" && key)) {
    throw wrongOption(
      "app.keys",
      "a list of texts where session() has no `secret` (a Keygrip does not tell its keys)",
      keys,
    );
  }
  const texts = keys as readonly string[];
  if (texts.some((key) => Buffer.byteLength(key) < leastKeyBytes)) {
    process.emitWarning(
      `app.keys are shorter than ${leastKeyBytes} bytes: who guesses one can forge session cookies`,
      { code: "MSM_WARN_SHORT_KEYS" },
    );
  }
  return texts.map((key) => Buffer.from(hkdfSync("sha256", key, "", "@msm/koa", 32)).toString("hex"));
}
