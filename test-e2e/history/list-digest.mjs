import { createHash } from "node:crypto";

/**
 * Digests of all beginnings of a list, the empty one first. Takes one pass, so that a long history is checked in no time.
 *
 * @param {readonly string[]} list
 * @returns {string[]} one more than the list has entries
 */
export function beginningsOf(list) {
  const hash = createHash("sha256");
  const digests = [hash.copy().digest("base64url")];
  for (const id of list) digests.push(hash.update(`${id}\n`).copy().digest("base64url"));
  return digests;
}

/**
 * What stands for a list in an answer, so that answers stay short.
 *
 * @param {readonly string[]} list
 * @returns {string}
 */
export function listDigest(list) {
  const hash = createHash("sha256");
  for (const id of list) hash.update(`${id}\n`);
  return hash.digest("base64url");
}
