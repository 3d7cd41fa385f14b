import type { CarriedSession, SessionManager, SessionTokens } from "@msm/core";

/** How one request's client names its session, with a memory of what was read and made: for `encryptedSessionId`. */
export class SessionNames implements SessionTokens {
  readonly #manager: SessionManager;
  readonly #tokens: SessionTokens;
  #carried: CarriedSession | undefined;
  #made: Pick<CarriedSession, "id" | "value"> | undefined;

  constructor(manager: SessionManager, tokens: SessionTokens = manager.tokens) {
    this.#manager = manager;
    this.#tokens = tokens;
  }

  // Tokens are taken apart by who uses them, so these need no `this`.
  readonly read: SessionTokens["read"] = (cookieHeader) => {
    this.#carried = this.#tokens.read(cookieHeader);
    return this.#carried;
  };

  readonly value: SessionTokens["value"] = (id, node, route) => {
    const value = this.#tokens.value(id, node, route);
    this.#made = { id, value };
    return value;
  };

  /** What leads to a session. Before it is stored, the node in it is a guess: then the others are asked as well. */
  of(id: string): string {
    if (this.#made?.id === id) return this.#made.value;
    if (this.#carried?.id === id) return this.#carried.value;
    return this.#tokens.value(id, this.#manager.health().nodes[0]?.id ?? "n1", undefined);
  }
}
