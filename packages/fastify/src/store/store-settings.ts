import { randomBytes } from "node:crypto";
import { longestTimeMs, MsmError } from "@msm/core";
import { EndedSessions } from "@msm/core/node";
import type { FastifyRequest } from "fastify";
import type { LibraryCookieOptions, LibraryOptions, SessionStore } from "../library.js";
import { Renewals } from "../renewals.js";
import type { SessionTarget } from "../sessions.js";
import { SignedIds } from "../signed-ids.js";
import { StoreCalls } from "./store-calls.js";

/** @fastify/session's options, with a store of its kind: its features, its defaults, and its cookie. */
export interface StoreOptions extends LibraryOptions {
  /** Any store of @fastify/session or express-session. `touch` is used where it has one. */
  readonly store: SessionStore;
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
  /**
   * With `rolling`: how long this process leaves a session alone in the store that no request changed, in milliseconds; its
   * cookie is sent each time. 0: renews it with every request, as @fastify/session does. Default: a tenth of the cookie's age,
   * at most 60,000.
   */
  readonly renewAfterMs?: number;
}

/** What all sessions of one plugin in a store have in common. */
export interface StoreSettings {
  readonly store: SessionStore;
  readonly calls: StoreCalls;
  readonly ids: SignedIds;
  readonly newId: (target: SessionTarget) => string;
  readonly cookie: LibraryCookieOptions;
  readonly rolling: boolean;
  readonly saveUninitialized: boolean;
  readonly absoluteTimeoutMs: number | undefined;
  readonly renewals: Renewals;
  readonly ended: EndedSessions;
}

/** Several plugins may have one store: what ended in one has ended in all. */
const endedOf = new WeakMap<SessionStore, EndedSessions>();

/** Checks the options and fills in @fastify/session's defaults. @throws MsmError MSM_ERR_OPTION on one that makes no sense */
export function storeSettings(options: StoreOptions): StoreSettings {
  const { store, idGenerator, rolling = true, saveUninitialized = true } = options;
  checkStore(store);
  checkMilliseconds("storeTimeoutMs", options.storeTimeoutMs, 1);
  checkMilliseconds("absoluteTimeoutMs", options.absoluteTimeoutMs, 1);
  checkMilliseconds("renewAfterMs", options.renewAfterMs, 0);
  const ended = endedOf.get(store) ?? new EndedSessions();
  endedOf.set(store, ended);
  return {
    store,
    calls: new StoreCalls(store, options.storeTimeoutMs ?? 10_000),
    ids: new SignedIds(options),
    newId: idGenerator === undefined ? randomId : (target) => idGenerator(target as FastifyRequest),
    cookie: { ...options.cookie, secure: options.cookie?.secure ?? true },
    rolling,
    saveUninitialized,
    absoluteTimeoutMs: options.absoluteTimeoutMs,
    renewals: new Renewals(options.renewAfterMs),
    ended,
  };
}

/** 192 random bits, in the form of @fastify/session's ids. */
const randomId = () => randomBytes(24).toString("base64url");

function checkStore(store: SessionStore): void {
  for (const method of ["get", "set", "destroy"] as const) {
    if (typeof store[method] === "function") continue;
    throw new MsmError(
      "MSM_ERR_OPTION",
      `store must have the methods get, set and destroy, got one without ${method}`,
    );
  }
}

function checkMilliseconds(name: string, value: number | undefined, least: number): void {
  if (value === undefined || (Number.isFinite(value) && value >= least && value <= longestTimeMs)) return;
  throw new MsmError(
    "MSM_ERR_OPTION",
    `${name} must be milliseconds from ${least} to ${longestTimeMs}, got ${value}`,
  );
}
