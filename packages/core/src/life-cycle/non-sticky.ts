import type { Parts } from "../parts.js";
import type { LiveSession } from "../session/live-session.js";
import { identify } from "../session/session-id.js";
import { bury } from "./bury.js";
import { CopyRenewals } from "./copy-renewals.js";
import type { Keeper } from "./keeper.js";
import { create, load, revive } from "./load.js";
import type { Mode } from "./mode.js";
import { RequestExchange } from "./request-exchange.js";
import { mergeWith, save } from "./save.js";

/** The nodes hold the sessions: any process serves any request, and keeps nothing once it is answered. */
export function nonStickyMode(parts: Parts): Mode {
  const copies = new CopyRenewals(parts);
  const keeper = nonStickyKeeper(copies, parts);

  return {
    async open(request) {
      const cookie = parts.cookies.read(request.cookieHeader);
      const exchangeWith = (live: LiveSession, isNew: boolean) =>
        new RequestExchange({ request, cookie, live, isNew }, keeper, parts);
      if (cookie === undefined) return exchangeWith(create(parts), true);

      const identity = identify(cookie.id);
      const found = await load(identity, cookie.node, parts);
      if (typeof found === "string") return exchangeWith(create(parts), true);

      if (found.node.id === cookie.node) copies.renewSoon(identity, found);
      else copies.makeSoon(identity, found);
      return exchangeWith(revive(identity, found, parts), false);
    },
    gauges: () => ({ localSessions: 0, unsavedSessions: 0 }),
    drain: () => copies.drain(),
  };
}

function nonStickyKeeper(copies: CopyRenewals, parts: Parts): Keeper {
  return {
    route: undefined,
    enter() {},
    leave() {},

    async keep(live) {
      for (;;) {
        // A process that has only this request's copy does not write again what no node has any more.
        const saved = await save(live, { route: "", recreate: false }, parts);
        if (saved.kind === "destroyed") return "discarded";

        const copy = await parts.replicas.copy(live.identity, live.node, saved.bytes, saved.ttlMs);
        if (copy.kind === "destroyed") return "discarded";
        if (copy.kind === "copied") copies.noteWritten(live.identity);
        if (copy.kind !== "newer") return "stored";
        // Two processes had written to different nodes, each over the version that this write replaced.
        mergeWith(copy.found, live, parts, saved.replaced);
      }
    },

    destroy: (live) => bury(live, parts),

    async reload(live) {
      if (live.stored === undefined) return undefined;
      const found = await load(live.identity, live.node, parts);
      return typeof found === "string" ? undefined : revive(live.identity, found, parts);
    },
  };
}
