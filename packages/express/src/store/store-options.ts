import { longestTimeMs, MsmError } from "@msm/core";
import { EndedSessions } from "@msm/core/node";
import expressSession, { type Store } from "express-session";
import {
  type CompatOptions,
  compatOptionNames,
  type ResolvedCompatOptions,
  resolveCompatOptions,
} from "../compat-options.js";

/** Sessions in any express-session store, by express-session's rules: its options, and two more. */
export interface StoreSessionOptions extends CompatOptions, StoreOptions {}

/** What sessions in a `store` have beside express-session's options. */
export interface StoreOptions {
  /** Any express-session store. */
  readonly store: Store;
  /**
   * How long the store may take for one call, in milliseconds; then the request fails with MSM_ERR_STORAGE_TIMEOUT and
   * status 503. Default 10,000, which leaves a store's own time limit the word.
   */
  readonly storeTimeoutMs?: number;
  /**
   * The longest that a session lives, however much it is used, in milliseconds. Default: as long as it is used. The
   * session keeps its beginning in the attribute `createdAtMs`.
   */
  readonly absoluteTimeoutMs?: number;
}

/** All that the requests of one middleware have in common. */
export interface StoreSettings {
  readonly compat: ResolvedCompatOptions;
  /** The cookie's name. */
  readonly name: string;
  readonly store: Express.SessionStore;
  readonly storeTimeoutMs: number;
  readonly absoluteTimeoutMs: number | undefined;
  readonly ended: EndedSessions;
  /** Whether the store can prolong a session's life without storing it. As in express-session, looked up once. */
  readonly canTouch: boolean;
}

/** Where a session keeps when it began, if it is not to live longer than `absoluteTimeoutMs`. */
export const birthAttribute = "createdAtMs";

const defaultTimeoutMs = 10_000;

/** Several middlewares may have one store: what ended in one has ended in all. */
const endedOf = new WeakMap<Store, EndedSessions>();

/** Checks the options. @throws MsmError MSM_ERR_OPTION; TypeError where express-session throws one */
export function storeSettings(options: StoreSessionOptions): StoreSettings {
  const { store, storeTimeoutMs = defaultTimeoutMs, absoluteTimeoutMs } = options;
  const compat = resolveCompatOptions(options);
  checkStore(store);
  checkNames(options);
  const ended = endedOf.get(store) ?? new EndedSessions();
  endedOf.set(store, ended);
  return {
    compat,
    name: compat.name ?? "connect.sid",
    store: store as Express.SessionStore,
    storeTimeoutMs: milliseconds("storeTimeoutMs", storeTimeoutMs, 2 ** 31 - 1),
    absoluteTimeoutMs:
      absoluteTimeoutMs === undefined
        ? undefined
        : milliseconds("absoluteTimeoutMs", absoluteTimeoutMs, longestTimeMs),
    ended,
    canTouch: typeof store.touch === "function",
  };
}

const ownNames: readonly string[] = [...compatOptionNames, "store", "storeTimeoutMs", "absoluteTimeoutMs"];

/** As express-session, `compat: 1` minds no name that it does not know. */
function checkNames(options: StoreSessionOptions): void {
  const unknown =
    options.compat === 1 ? undefined : Object.keys(options).find((name) => !ownNames.includes(name));
  if (unknown === undefined) return;
  throw new MsmError(
    "MSM_ERR_OPTION",
    `with a store, there is no option ${unknown}; there are ${ownNames.join(", ")}. Sessions on msm's nodes have \`nodes\` in its place`,
  );
}

const needed = ["get", "set", "destroy", "regenerate", "createSession", "on"] as const;

function checkStore(store: Store): void {
  const isObject = typeof store === "object" && store !== null;
  const missing = isObject ? needed.filter((name) => typeof store[name] !== "function") : needed;
  if (missing.length === 0) return;
  throw new MsmError(
    "MSM_ERR_OPTION",
    `store must be an express-session store, an object of a class that extends its Store; got ${isObject ? `one without ${missing.join(", ")}` : typeof store}`,
  );
}

function milliseconds(name: string, value: unknown, mostMs: number): number {
  if (typeof value === "number" && value > 0 && value <= mostMs) return Math.ceil(value);
  throw new MsmError(
    "MSM_ERR_OPTION",
    `${name} must be a number of milliseconds above 0, ${mostMs} at most, got ${String(value)}`,
  );
}

/** In production a `MemoryStore` loses all sessions with its process, and never forgets one. */
export function warnOfMemoryStore(store: Store): void {
  if (process.env.NODE_ENV !== "production" || !(store instanceof expressSession.MemoryStore)) return;
  process.emitWarning("`store` is a MemoryStore: sessions are in this process' memory only, for ever", {
    code: "MSM_WARN_MEMORY_ONLY",
  });
}
