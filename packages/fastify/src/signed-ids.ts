import fastifyCookie from "@fastify/cookie";
import { MsmError } from "@msm/core";
import type { LibraryOptions } from "./library.js";

/** How a client's cookie names its session, as @fastify/session does it: `<prefix><id>.<signature>`. */
export interface SignedIdOptions extends Pick<LibraryOptions, "algorithm" | "cookieName" | "cookiePrefix"> {
  readonly secret: LibraryOptions["secret"];
}

/** An id whose signature was verified. */
export interface SignedId {
  readonly id: string;
  /** What is signed: the id with its signature, without the prefix. */
  readonly signed: string;
}

/** Signs and verifies: @fastify/cookie's, or one of the application's own. */
interface Signer {
  sign(text: string): string;
  unsign(text: string): { readonly valid: boolean; readonly value: string | null };
}

/** Of how many cookies of one name the signature is verified; a client that sends more has itself to thank. */
const mostCandidates = 4;

/** Signs ids, and reads them from cookies. */
export class SignedIds {
  readonly name: string;
  readonly #prefix: string;
  readonly #signer: Signer;

  /** @throws MsmError MSM_ERR_OPTION where there is no secret to sign with */
  constructor({
    secret,
    algorithm = "sha256",
    cookieName = "sessionId",
    cookiePrefix = "",
  }: SignedIdOptions) {
    checkSecret(secret);
    this.name = cookieName;
    this.#prefix = cookiePrefix;
    this.#signer =
      typeof secret === "string" || Array.isArray(secret)
        ? new fastifyCookie.Signer(secret, algorithm)
        : secret;
  }

  sign(id: string): string {
    return this.#signer.sign(id);
  }

  /** What stands in the cookie. */
  cookieValue(signed: string): string {
    return this.#prefix + signed;
  }

  /** What is signed in a cookie's value. */
  withoutPrefix(value: string): string {
    return value.startsWith(this.#prefix) ? value.slice(this.#prefix.length) : value;
  }

  /** The id in a signed text; undefined where the signature is none of ours. Never throws. */
  verify(signed: string): SignedId | undefined {
    try {
      const { valid, value } = this.#signer.unsign(signed);
      return valid && value !== null ? { id: value, signed } : undefined;
    } catch {
      return undefined; // a signer of the application's own; what it cannot read is not signed
    }
  }

  /** The first cookie of a header that verifies. Never throws. */
  read(cookieHeader: string | undefined): SignedId | undefined {
    for (const signed of this.#candidates(cookieHeader).slice(0, mostCandidates)) {
      const verified = this.verify(signed);
      if (verified !== undefined) return verified;
    }
    return undefined;
  }

  /** Whether a header has a cookie of the name, be it worth something or not. */
  isIn(cookieHeader: string | undefined): boolean {
    return this.#candidates(cookieHeader).length > 0;
  }

  #candidates(cookieHeader: string | undefined): string[] {
    if (cookieHeader === undefined) return [];
    return cookieHeader.split(";").flatMap((pair) => {
      const equals = pair.indexOf("=");
      if (equals === -1 || pair.slice(0, equals).trim() !== this.name) return [];
      const value = decoded(pair.slice(equals + 1).trim());
      return value !== "" && value.startsWith(this.#prefix) ? [value.slice(this.#prefix.length)] : [];
    });
  }
}

/** As the library `cookie` does it: quotes go, and what cannot be decoded stays as it is. */
function decoded(text: string): string {
  const value = text.startsWith('"') ? text.slice(1, -1) : text;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

function checkSecret(secret: LibraryOptions["secret"] | undefined): void {
  if (typeof secret === "string") {
    if (secret.length >= 32) return;
    throw new MsmError("MSM_ERR_OPTION", `the secret must have length 32 or greater, got ${secret.length}`);
  }
  if (Array.isArray(secret)) {
    if (secret.length > 0) return;
    throw new MsmError("MSM_ERR_OPTION", "at least one secret is required");
  }
  if (typeof secret?.sign === "function" && typeof secret.unsign === "function") return;
  throw new MsmError(
    "MSM_ERR_OPTION",
    "the secret option is required, and must be a String, Array of Strings, or a signer object with .sign and .unsign methods",
  );
}
