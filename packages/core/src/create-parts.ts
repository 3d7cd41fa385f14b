import { createCodecs } from "./codec/codecs.js";
import { deriveKeys } from "./cookie/keys.js";
import { createSessionCookies } from "./cookie/session-cookie.js";
import { createEvents } from "./events.js";
import { Replicas } from "./failover/replicas.js";
import { Ring, type RingMember } from "./failover/ring.js";
import { conflictResolver } from "./life-cycle/conflicts.js";
import { createLocking } from "./locking/locking.js";
import type { ResolvedOptions } from "./options.js";
import type { Parts } from "./parts.js";
import { lastTable, mergeTables } from "./session/merge.js";
import { createSealer } from "./session/record.js";

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** Parts that can be changed: by `reconfigure()` alone. */
export type ChangeableParts = Writable<Omit<Parts, "options">> & {
  readonly options: Writable<ResolvedOptions>;
};

/** Builds what a manager is made of. @param membersOf makes the members of the ring, which may tell of what it sees */
export function createParts(
  resolved: ResolvedOptions,
  membersOf: (onWarning: (message: string) => void) => readonly RingMember[],
): ChangeableParts {
  const { clock, keyPrefix } = resolved;
  const options = { ...resolved };
  const events = createEvents();
  const keys = deriveKeys(resolved.secrets);
  const sealer = createSealer(keys.record);
  const members = membersOf((message) => events.emit("warning", { message }));
  const recordLife = { longestMs: resolved.idleTimeoutMs };
  const ring = new Ring(members, { clock, events, recordLife, limits: options }, !resolved.enabled);
  const parts: ChangeableParts = {
    options,
    clock,
    random: Math.random,
    events,
    sealer,
    ring,
    codecs: createCodecs(resolved.codec),
    ...lockingOf(resolved),
    cookies: createSessionCookies(resolved.cookie, keys.cookie, clock),
    replicas: new Replicas({
      ...{ ring, sealer, events, clock, keyPrefix },
      get idleTimeoutMs() {
        return options.idleTimeoutMs;
      },
    }),
    resolver: (identity) => conflictResolver(identity, parts),
  };
  return parts;
}

/** What follows from `locking`. */
export function lockingOf({ locking, saves, clock }: ResolvedOptions): Pick<Parts, "locking" | "merge"> {
  return {
    locking: createLocking(locking, clock),
    merge: saves === "whole" ? lastTable : mergeTables,
  };
}
