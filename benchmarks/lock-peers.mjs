import { session } from "@msm/express";
import { secret } from "./peers.mjs";

/** @type {readonly ("optimistic" | "none" | "all" | "auto" | "app")[]} */
const modes = ["optimistic", "none", "all", "auto", "app"];

/**
 * Each mode of locking, sticky and not, on the node of the given URL.
 * @type {readonly import("./peers.mjs").Peer[]}
 */
export const lockPeers = [{ mode: "sticky", route: "app1" }, { mode: "non-sticky" }].flatMap((kind) =>
  modes.map((locking) => ({
    name: `${kind.mode}, ${locking}`,
    needsRedis: false,
    locksInHandlers: locking === "app",
    middleware: async (nodes) => session({ secret, nodes, locking, ...kind }),
  })),
);
