import type { Parts } from "../parts.js";
import type { LiveSession } from "../session/live-session.js";
import type { Successor } from "../session/record.js";
import { mergeWith } from "./save.js";

/** How long an id that was given up leads to the session under its new id. */
const graceMs = 10_000;

/** Where a session goes on, as its tombstone says it. */
function successorOf(live: LiveSession, parts: Parts): Successor | undefined {
  return live.successor && { id: live.successor.live.identity.id, untilMs: parts.clock.now() + graceMs };
}

/**
 * Ends a session on its node, if nobody has saved it since this process did; else takes in what they saved.
 * @returns whether it ended
 * @throws MsmError of the storage, or MSM_ERR_CONFLICT
 */
export async function endUnlessNewer(live: LiveSession, parts: Parts): Promise<boolean> {
  const { identity, stored } = live;
  if (stored === undefined) return true;
  const ttlMs = parts.ring.longestRecordLifeMs;
  const result = await parts.replicas.write({
    identity,
    bytes: parts.sealer.tombstone(identity, ttlMs, successorOf(live, parts)),
    ttlMs,
    node: live.node,
    replaces: stored.revision,
    recreate: true,
  });
  if (result.kind !== "newer") return true;
  mergeWith(result.found, live, parts);
  return false;
}

/**
 * Ends a session: nothing of it is saved from now on, and every node that answers gets its tombstone; where the session has
 * a successor, it leads there for a while.
 * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where no node took it
 */
export async function bury(live: LiveSession, parts: Parts): Promise<void> {
  const wasAnnounced = live.announced;
  live.destroyed = true;
  if (wasAnnounced) await parts.replicas.bury(live.identity, successorOf(live, parts));
  parts.events.emit("destroyed", { session: live.identity.name });
}
