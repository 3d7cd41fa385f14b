import { MsmError } from "@msm/core";
import type { SessionStore } from "../options.js";

/** A store that is asked for one request: its methods give promises. */
export interface GuardedStore {
  get(...args: Parameters<SessionStore["get"]>): Promise<unknown>;
  set(...args: Parameters<SessionStore["set"]>): Promise<void>;
  destroy(...args: Parameters<SessionStore["destroy"]>): Promise<void>;
}

/**
 * Guards calls to a store. Whatever it throws, or does not answer in time, is trouble with the storage: the client is told to
 * come back, and is not logged out. Rejects with MSM_ERR_STORAGE_UNAVAILABLE, with what was thrown as `cause`, or with
 * MSM_ERR_STORAGE_TIMEOUT.
 */
export function guardedStore(store: SessionStore, timeoutMs: number): GuardedStore {
  return {
    get: (...args) => guard("get", () => store.get(...args)),
    set: async (...args) => void (await guard("set", () => store.set(...args))),
    destroy: async (...args) => void (await guard("destroy", () => store.destroy(...args))),
  };

  async function guard(verb: string, call: () => unknown): Promise<unknown> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(silentError(verb, timeoutMs)), timeoutMs);
    });
    try {
      return await Promise.race([call(), limit]);
    } catch (thrown) {
      throw MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
    } finally {
      clearTimeout(timer);
    }
  }
}

const silentError = (verb: string, timeoutMs: number) =>
  new MsmError(
    "MSM_ERR_STORAGE_TIMEOUT",
    `the session store's ${verb}() did not answer within ${timeoutMs} ms`,
  );
