import type { SessionExchange } from "./exchange.js";

/** What a request gets, with `onStorageError: "without-session"`, while its session cannot be read. */
export const withoutSession: SessionExchange = {
  session: undefined,
  cookie: () => undefined,
  commit: () => ({ outcome: "unneeded" }),
  end: async () => {},
};
