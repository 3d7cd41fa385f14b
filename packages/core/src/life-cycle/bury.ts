import type { Parts } from "../parts.js";
import type { LiveSession } from "../session/live-session.js";
import type { Successor, SuccessorPlace } from "../session/record.js";
import { containedIn, mergeWith } from "./save.js";

/** How long an id that was given up leads to the session under its new id. */
const graceMs = 10_000;

/**
 * Ends a session: nothing of it is saved from now on, and every node that answers gets its tombstone.
 * @param successor where the session goes on under a new id, to which the old one leads for a while
 * @returns where the session goes on because another request had ended it so
 * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where no node took it
 */
export async function bury(
  live: LiveSession,
  parts: Parts,
  successor?: SuccessorPlace,
): Promise<SuccessorPlace | undefined> {
  const wasAnnounced = live.announced;
  live.destroyed = true;
  const before = wasAnnounced
    ? await parts.replicas.bury(live.identity, successorTo(successor, parts))
    : undefined;
  parts.events.emit("destroyed", { session: live.identity.name });
  return before?.successor;
}

/** The record that ends a session. @param successor where it goes on under a new id, to which the old one leads for a while */
export const endingRecord = (
  { identity }: LiveSession,
  successor: SuccessorPlace | undefined,
  parts: Parts,
): Uint8Array =>
  parts.sealer.tombstone(identity, parts.ring.longestRecordLifeMs, successorTo(successor, parts));

/**
 * Ends a session on its node, if nobody has saved it since this process did. Else takes in what they saved; or notes that
 * they have ended it, and where it goes on.
 * @param end see `endingRecord`; the same one where this is tried again, so that the first try is known again
 * @returns whether it ended now
 * @throws MsmError of the storage
 */
export async function endUnlessNewer(live: LiveSession, end: Uint8Array, parts: Parts): Promise<boolean> {
  const { identity, stored } = live;
  if (stored === undefined) return true;
  const result = await parts.replicas.write({
    identity,
    sealFor: () => end,
    ttlMs: parts.ring.longestRecordLifeMs,
    node: live.node,
    replaces: stored,
    contains: containedIn(live),
    recreate: true,
  });
  // Where this process has saved meanwhile, what the node said was true before.
  if (result.kind === "newer" && live.stored === stored) mergeWith(result.found, live, parts);
  if (result.kind === "ended") noteEnd(live, result.successor, parts);
  return result.kind === "stored" || result.kind === "gone";
}

/** Notes that another request has ended the session, and where it goes on, if it does. */
export function noteEnd(live: LiveSession, successor: Successor | undefined, { clock }: Parts): void {
  live.destroyed = true;
  const leads = successor !== undefined && clock.now() < successor.untilMs;
  if (leads && live.stored !== undefined && live.successor === undefined) {
    const { id, node } = successor;
    live.successor = live.heir(id) ?? { id, node, base: live.stored.table };
  }
}

const successorTo = (place: SuccessorPlace | undefined, { clock }: Parts): Successor | undefined =>
  place && { id: place.id, node: place.node, untilMs: clock.now() + graceMs };
