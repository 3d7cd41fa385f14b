import { isUtf8 } from "node:buffer";
import { type CipherKey, hkdfSync, KeyObject } from "node:crypto";
import { MsmError } from "@msm/core";

const leastSecretBytes = 32;

/**
 * The secrets as the core takes them: texts of at least 32 bytes. Bytes that are UTF-8 count as their text, so that
 * processes may give the same secret in either form.
 * @param acceptsShort as express-session does: of shorter ones a longer one is derived, with a warning
 * @throws MsmError MSM_ERR_OPTION on one that is too short
 */
export function coreSecrets(secrets: readonly CipherKey[], acceptsShort: boolean): readonly string[] {
  return secrets.map((secret) => {
    const text = textOf(secret);
    if (Buffer.byteLength(text) >= leastSecretBytes) return text;
    if (!acceptsShort) throw new MsmError("MSM_ERR_OPTION", tooShort);
    process.emitWarning(
      `a secret of less than ${leastSecretBytes} bytes; rotate to a longer one: secret: [longOne, shortOne]`,
      { type: "DeprecationWarning", code: "MSM_DEP_SHORT_SECRET" },
    );
    return derived(text);
  });
}

// What it got is not said: messages end up in logs.
const tooShort =
  `each secret must have at least ${leastSecretBytes} bytes, as it seals what is stored too; make one with: ` +
  `node -p "crypto.randomBytes(32).toString('hex')". With compat: 1 a shorter one is accepted meanwhile: ` +
  "secret: [longOne, shortOne] rotates to the longer one";

function textOf(secret: CipherKey): string {
  if (typeof secret === "string") return secret;
  const bytes: unknown = secret instanceof KeyObject && secret.type === "secret" ? secret.export() : secret;
  if (!ArrayBuffer.isView(bytes)) {
    throw new MsmError(
      "MSM_ERR_OPTION",
      "secret must be a text, bytes, a secret KeyObject, or a list of them",
    );
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(buffer) ? buffer.toString() : buffer.toString("base64url");
}

/** HKDF (RFC 5869) makes it longer, not better: who can guess the short one has the long one. */
const derived = (secret: string) =>
  Buffer.from(hkdfSync("sha256", secret, "", "msm short secret", leastSecretBytes)).toString("hex");
