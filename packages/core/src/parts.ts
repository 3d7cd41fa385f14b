import type { Clock } from "./clock.js";
import type { Codecs } from "./codec/codecs.js";
import type { SessionCookies } from "./cookie/session-cookie.js";
import type { EventEmitter } from "./events.js";
import type { Replicas } from "./failover/replicas.js";
import type { Ring } from "./failover/ring.js";
import type { SessionRequest } from "./life-cycle/exchange.js";
import type { Locking } from "./locking/locking.js";
import type { ResolvedOptions } from "./options.js";
import type { Merge, ResolveEncoded } from "./session/merge.js";
import type { RecordSealer } from "./session/record.js";
import type { SessionIdentity } from "./session/session-id.js";

/**
 * What a manager is made of: built once at its start, handed to every step of the life cycle. What `reconfigure()` changes
 * is changed inside: so each step reads options when it needs them, and keeps none.
 */
export interface Parts {
  readonly options: ResolvedOptions;
  readonly clock: Clock;
  /** Random numbers from 0 to below 1, which keep processes from meeting again and again; no secrets come of them. */
  readonly random: () => number;
  readonly events: EventEmitter;
  readonly codecs: Codecs;
  readonly cookies: SessionCookies;
  readonly sealer: RecordSealer;
  readonly ring: Ring;
  readonly replicas: Replicas;
  readonly locking: Locking<SessionRequest>;
  /** Makes what decides a session's conflicts, as `onConflict` says. */
  readonly resolver: (identity: SessionIdentity) => ResolveEncoded;
  /** What becomes of a save that meets a newer version. */
  readonly merge: Merge;
}
