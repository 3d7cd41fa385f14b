import type { Parts } from "../parts.js";
import type { LiveSession } from "../session/live-session.js";

/**
 * Ends a session: nothing of it is saved from now on, and every node that answers gets its tombstone.
 * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where no node took it
 */
export async function bury(live: LiveSession, parts: Parts): Promise<void> {
  const wasAnnounced = live.announced;
  live.destroyed = true;
  // The tombstone must outlive every older copy. A copy lives for the longest idle timeout the session ever had.
  const longestMs = Math.max(
    live.idleTimeoutMs,
    live.stored?.idleTimeoutMs ?? 0,
    parts.options.idleTimeoutMs,
  );
  if (wasAnnounced) await parts.replicas.bury(live.identity, longestMs);
  parts.events.emit("destroyed", { session: live.identity.name });
}
