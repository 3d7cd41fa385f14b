import { hash } from "node:crypto";
import { randomText } from "../random-text.js";

/** A session's id, and what is derived from it once. */
export interface SessionIdentity {
  /** 48 hexadecimal digits, or what the application makes; known to the client and to nobody else. */
  readonly id: string;
  /** SHA-256 of the id, base64url. All that storages and records see of it. */
  readonly digest: string;
  /** First 8 characters of the digest: what events and logs call the session. */
  readonly name: string;
}

/** Characters that an id may have at most. */
export const longestIdChars = 128;

/** What a cookie's value may hold (cookie-octet, RFC 6265 section 4.1.1). */
const pattern = /^[!#-+\--:<-[\]-~]{1,128}$/;

/** Makes an id of 192 random bits. */
export const newSessionId = (): string => randomText(24, "hex");

/** True where the text can be a session id: 1 to 128 characters that a cookie's value may hold. */
export const isSessionId = (text: string): boolean => pattern.test(text);

/** Derives what storages and events call a session. */
export const identify = (id: string): SessionIdentity => new Identity(id);

/** Each session has one for all of its life: it holds what cannot be had from the rest of it. */
class Identity implements SessionIdentity {
  readonly id: string;
  readonly digest: string;

  constructor(id: string) {
    this.id = id;
    this.digest = hash("sha256", id, "base64url");
  }

  get name(): string {
    return this.digest.slice(0, 8);
  }
}

/** The storage key of a session; in braces, so that its record and its lease share a Redis Cluster slot. */
export const storageKey = (prefix: string, identity: SessionIdentity): string =>
  `${prefix}:{${identity.digest}}`;
