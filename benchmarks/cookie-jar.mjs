/** Cookies in memory that is taken once, so that it does not count as the sessions'. */
export class CookieJar {
  static #bytesEach = 256;
  #bytes;
  length = 0;

  /** @param {number} most cookies */
  constructor(most) {
    this.#bytes = Buffer.alloc(most * CookieJar.#bytesEach, " ");
  }

  /** @param {string} cookie */
  add(cookie) {
    this.#bytes.write(cookie, this.length * CookieJar.#bytesEach, "latin1");
    this.length += 1;
  }

  /** @param {number} index */
  at(index) {
    const begin = index * CookieJar.#bytesEach;
    return this.#bytes.toString("latin1", begin, begin + CookieJar.#bytesEach).trimEnd();
  }
}
