import { askStore } from "@msm/core/node";
import type { SessionStore } from "../library.js";
import type { StoredSession } from "./stored-session.js";

/** What a store gives for a session: the attributes, and what it remembers of the cookie. */
export type StoredData = Readonly<Record<string, unknown>>;

/** A store's methods as promises. They are looked up when they are called, as an application may replace them. */
export class StoreCalls {
  readonly #store: SessionStore;
  readonly #timeoutMs: number;

  constructor(store: SessionStore, timeoutMs: number) {
    this.#store = store;
    this.#timeoutMs = timeoutMs;
  }

  /** Undefined where there is no such session. */
  async get(id: string): Promise<StoredData | undefined> {
    const found = await this.#ask<unknown>("get", (callback) => this.#store.get(id, callback)).catch(
      unlessAbsent,
    );
    return typeof found === "object" && found !== null ? (found as StoredData) : undefined;
  }

  async set(id: string, session: StoredSession): Promise<void> {
    await this.#ask("set", (callback) => this.#store.set(id, session, callback));
  }

  async destroy(id: string): Promise<void> {
    await this.#ask("destroy", (callback) => this.#store.destroy(id, callback));
  }

  /** Such a store keeps the time itself, as those of express-session do. */
  get canTouch(): boolean {
    return typeof this.#store.touch === "function";
  }

  /** Prolongs the session's life; where the store has no means for that, by storing it. */
  async renew(id: string, session: StoredSession): Promise<void> {
    const { touch } = this.#store;
    if (typeof touch !== "function") return this.set(id, session);
    await this.#ask("touch", (callback) => touch.call(this.#store, id, session, callback));
  }

  #ask<T>(
    verb: string,
    run: (callback: (error?: unknown, value?: T) => void) => unknown,
  ): Promise<T | undefined> {
    return askStore<T>(verb, this.#timeoutMs, run);
  }
}

/** File stores say so of a session that is not there. */
function unlessAbsent(error: unknown): undefined {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
  throw error;
}
