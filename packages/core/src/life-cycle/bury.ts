import type { Parts } from "../parts.js";
import type { LiveSession } from "../session/live-session.js";

/**
 * Ends a session: nothing of it is saved from now on, and every node that answers gets its tombstone.
 * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where no node took it
 */
export async function bury(live: LiveSession, parts: Parts): Promise<void> {
  const wasAnnounced = live.announced;
  live.destroyed = true;
  if (wasAnnounced) await parts.replicas.bury(live.identity);
  parts.events.emit("destroyed", { session: live.identity.name });
}
