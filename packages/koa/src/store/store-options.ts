import { EndedSessions } from "@msm/core/node";
import type { Context } from "koa";
import { type Behaviour, behaviourNames, resolveBehaviour, resolveMaxAge } from "../behaviour.js";
import { booleanOption, checkMethods, misplacedOption, wrongOption } from "../check.js";
import type { StoreOptions } from "../options.js";
import { type GuardedStore, guardedStore } from "./guarded-store.js";

/** What the options say of sessions in a store. */
export interface ResolvedStore {
  readonly storeFor: (ctx: Context) => GuardedStore;
  /** Which of the store's sessions have ended in this process. */
  readonly ended: EndedSessions;
  readonly behaviour: Behaviour;
  readonly absoluteTimeoutMs: number | undefined;
  readonly key: string;
  /** What koa's `ctx.cookies` is given, beside the age. */
  readonly cookie: CookieSettings;
}

/** What koa's `ctx.cookies` takes. Names that neither of us knows are passed on, as koa-session does. */
export interface CookieSettings {
  readonly signed: boolean;
  readonly [name: string]: unknown;
}

const ownNames: readonly string[] = [
  ...[
    "store",
    "ContextStore",
    "key",
    "maxAge",
    "maxage",
    "encode",
    "decode",
    "absoluteTimeoutMs",
    "storeTimeoutMs",
  ],
  ...behaviourNames,
];

/** Options of msm's nodes: whoever gives one beside a store expects what a store does not have. */
const nodesNames = [
  ...["nodes", "failoverNodes", "mode", "route", "backup", "locking", "manager", "secret", "codec", "cookie"],
  ...["idleTimeoutMs", "onConflict", "onStorageError", "previous"],
];

/** Checks koa-session's options and fills in its defaults. @throws MsmError MSM_ERR_OPTION */
export function resolveStore(options: StoreOptions): ResolvedStore {
  for (const name of nodesNames) {
    const value: unknown = Reflect.get(options, name);
    if (value !== undefined)
      throw misplacedOption(name, value, "beside a store; leave the store out to have msm's nodes");
  }
  const { key = "koa.sess", absoluteTimeoutMs, storeTimeoutMs } = options;
  if (typeof key !== "string" || key === "") throw wrongOption("key", "a cookie's name", key);
  for (const [name, value] of Object.entries({ absoluteTimeoutMs, storeTimeoutMs })) {
    if (value !== undefined && !(typeof value === "number" && value > 0))
      throw wrongOption(name, "a number of milliseconds above 0", value);
  }
  const storeFor = storeMaker(options);
  return {
    storeFor,
    ended: endedIn((options.ContextStore ?? options.store) as object),
    behaviour: resolveBehaviour(options, resolveMaxAge(options)),
    absoluteTimeoutMs,
    key,
    cookie: cookieSettingsOf(options),
  };
}

const ended = new WeakMap<object, EndedSessions>();

/** Several middlewares may have one store: what ended by one has ended for all. */
function endedIn(store: object): EndedSessions {
  const known = ended.get(store) ?? new EndedSessions();
  ended.set(store, known);
  return known;
}

function storeMaker({
  store,
  ContextStore,
  storeTimeoutMs = 10_000,
}: StoreOptions): ResolvedStore["storeFor"] {
  const methods = ["get", "set", "destroy"];
  if (ContextStore !== undefined) {
    if (typeof ContextStore !== "function") throw wrongOption("ContextStore", "a class", ContextStore);
    checkMethods("ContextStore.prototype", ContextStore.prototype as object, methods);
    return (ctx) => guardedStore(new ContextStore(ctx), storeTimeoutMs);
  }
  if (typeof store !== "object" && typeof store !== "function")
    throw wrongOption("store", "an object with get, set and destroy", store);
  checkMethods("store", store, methods);
  const guarded = guardedStore(store, storeTimeoutMs);
  return () => guarded;
}

function cookieSettingsOf(options: StoreOptions): CookieSettings {
  const passedOn = Object.entries(options).filter(
    ([name, value]) => !ownNames.includes(name) && value !== undefined && value !== null,
  );
  return {
    ...Object.fromEntries(passedOn),
    overwrite: booleanOption("overwrite", options.overwrite, true),
    httpOnly: booleanOption("httpOnly", options.httpOnly, true),
    signed: booleanOption("signed", options.signed, true),
  };
}
