import type { Parts } from "../parts.js";
import type { LiveSession } from "../session/live-session.js";
import { identify } from "../session/session-id.js";
import { bury, noteEnd } from "./bury.js";
import type { Keeper } from "./keeper.js";
import { findAndRevive, isFound, load, revive } from "./load.js";
import type { OpenExchanges } from "./open-exchanges.js";
import type { RecentEnds } from "./recent-ends.js";
import { save } from "./save.js";

/**
 * Keeps a sticky session that another process owns, for work that is done here: its backup is changed, and it stays the
 * owner's, which is told.
 * @param owner the route of the process that owns the session
 * @param tellOwner tells that process that the session was changed or ended
 * @param recentEnds what this process ended
 * @param exchanges those of this process' mode
 */
export function visitorKeeper(
  owner: string,
  tellOwner: (live: LiveSession) => void,
  recentEnds: Pick<RecentEnds, "note">,
  exchanges: OpenExchanges,
  parts: Parts,
): Keeper {
  return {
    exchanges,
    route: owner,
    enter() {},
    leave() {},
    lock: async () => undefined,
    async keep(live) {
      const saved = await save(live, { route: owner, recreate: false }, parts);
      if (saved.kind === "stored") {
        tellOwner(live);
        return "stored";
      }
      noteEnd(live, saved.successor, parts);
      return "discarded";
    },
    destroy(live, successor) {
      recentEnds.note(live, successor);
      return bury(live, parts, successor).finally(() => tellOwner(live));
    },
    find: ({ id, node }) => findAndRevive(identify(id), node, parts),
    async reload(live) {
      const found = await load(live.identity, live.node, parts);
      return isFound(found) ? revive(live.identity, found, parts) : undefined;
    },
  };
}
