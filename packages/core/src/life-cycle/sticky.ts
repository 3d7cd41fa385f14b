import { Background } from "../background.js";
import type { SessionCookie } from "../cookie/session-cookie.js";
import { MsmError } from "../errors.js";
import type { FoundRecord, ReadResult } from "../failover/replicas.js";
import type { ResolvedStickyOptions } from "../options.js";
import type { Parts } from "../parts.js";
import type { LiveSession } from "../session/live-session.js";
import { identify, type SessionIdentity } from "../session/session-id.js";
import { Backups } from "./backups.js";
import { bury } from "./bury.js";
import type { Keeper } from "./keeper.js";
import { create, load, revive } from "./load.js";
import { type LocalSession, LocalSessions } from "./local-sessions.js";
import { type Maintenance, startMaintenance } from "./maintenance.js";
import type { Mode } from "./mode.js";
import { RequestExchange } from "./request-exchange.js";
import { mergeWith } from "./save.js";

/** The sessions live in this process, and the nodes hold their backup. */
export function stickyMode(options: ResolvedStickyOptions, parts: Parts): Mode {
  const sessions = new LocalSessions(options.maxLocalSessions, parts);
  const backups = new Backups(options.route, parts);
  const background = new Background();
  const dying = new Set<string>();
  const takeOver = takeOverOnce(options.route, sessions, backups, parts);
  const maintenance = startMaintenance(sessions, backups, background, parts);
  const keeper = stickyKeeper(options, { sessions, dying, backups, background, maintenance }, parts);

  return {
    async open(request) {
      const cookie = parts.cookies.read(request.cookieHeader);
      const local = cookie && !dying.has(cookie.id) ? (mine(cookie) ?? (await takeOver(cookie))) : undefined;
      const live = local?.live ?? create(parts);
      return new RequestExchange({ request, cookie, live, isNew: local === undefined }, keeper, parts);
    },
    gauges: () => ({ localSessions: sessions.size, unsavedSessions: backups.unsaved.length }),
    async drain() {
      maintenance.stop();
      await Promise.allSettled(backups.unsaved.map((local) => backups.upTo(local, local.live.changes)));
      await background.drain();
    },
  };

  /** No I/O at all where the balancer sent the request to the owner. */
  function mine(cookie: SessionCookie): LocalSession | undefined {
    if (cookie.route !== options.route) return undefined;
    return sessions.use(cookie.id);
  }
}

/** How long after a node went down its sessions' owners may need to move the backups; later nobody will. */
const ownerMovesWithinMs = 10_000;

/**
 * Takes a session over from the nodes, once for all requests that want it at the same time. A save under the version
 * check makes this process the owner, so that a late write of the former one meets a conflict.
 */
function takeOverOnce(route: string, sessions: LocalSessions, backups: Backups, parts: Parts) {
  const underWay = new Map<string, Promise<LocalSession | undefined>>();

  return function takeOver(cookie: SessionCookie): Promise<LocalSession | undefined> {
    const running = underWay.get(cookie.id);
    if (running !== undefined) return running;
    const takingOver = run(cookie).finally(() => underWay.delete(cookie.id));
    underWay.set(cookie.id, takingOver);
    return takingOver;
  };

  async function run(cookie: SessionCookie): Promise<LocalSession | undefined> {
    const identity = identify(cookie.id);
    const held = sessions.use(identity.id);
    const found = await findNewest(identity, cookie).catch((error: unknown) => {
      if (held === undefined) throw error;
      return "absent" as const; // what is in memory serves on while the nodes do not answer
    });
    if (found === "destroyed") {
      if (held !== undefined) held.live.destroyed = true;
      sessions.remove(identity.id);
      return undefined;
    }
    if (found === "absent") return held;

    const local = held ?? sessions.add(revive(identity, found, parts));
    if (held !== undefined) catchUp(held, found);
    if (found.record.route === route && !local.live.unsaved) return local;
    return own(local, found.record.route);
  }

  /**
   * A sticky session has one backup, on the node that the cookie names. What another node has may be older, until the
   * owner, which the cookie names as well, has moved the backup there.
   */
  async function findNewest(identity: SessionIdentity, cookie: SessionCookie): Promise<ReadResult> {
    const found = await load(identity, cookie.node, parts);
    const hinted = parts.ring.node(cookie.node);
    if (typeof found === "string" || hinted === undefined || found.node === hinted) return found;

    if (await hinted.check()) return load(identity, cookie.node, parts); // it only missed one question
    const isMoved = cookie.route === undefined || found.record.route === cookie.route;
    if (isMoved || (hinted.health.downMs ?? 0) > ownerMovesWithinMs) return found;
    throw new MsmError(
      "MSM_ERR_STORAGE_UNAVAILABLE",
      `node ${cookie.node} does not answer, and ${cookie.route} has not moved the session's backup from it yet`,
    );
  }

  /** This process had the session before, and another may have gone on with it. */
  function catchUp({ live }: LocalSession, found: FoundRecord): void {
    const known = live.stored?.revision.version ?? "";
    if (found.revision.version <= known) return;
    try {
      mergeWith(found, live, parts);
    } catch {
      // Under onConflict "fail" the other's values stand. The request that wrote ours has long been answered, or told.
    }
  }

  async function own(local: LocalSession, from: string): Promise<LocalSession | undefined> {
    const saved = await backups.again(local).catch(() => "unsaved" as const); // pushed later, as any failed backup
    if (saved === "destroyed") {
      sessions.remove(local.live.identity.id);
      return undefined;
    }
    if (saved === "stored") {
      const { name } = local.live.identity;
      parts.events.emit("takenOver", { session: name, from: from === "" ? undefined : from, to: route });
    }
    return local;
  }
}

interface StickyParts {
  readonly sessions: LocalSessions;
  /** Ids of sessions whose tombstones are on their way: a node may still give the session, and nobody may have it. */
  readonly dying: Set<string>;
  readonly backups: Backups;
  readonly background: Background;
  readonly maintenance: Maintenance;
}

function stickyKeeper(
  options: ResolvedStickyOptions,
  { sessions, dying, backups, background, maintenance }: StickyParts,
  parts: Parts,
): Keeper {
  const { clock, events, ring } = parts;

  return {
    route: options.route,

    enter(live) {
      live.holders++;
      maintenance.noteIdleTimeout(live.idleTimeoutMs);
      // It may have been pushed out of memory between being found and being entered.
      const isHeld = live.stored === undefined || live.destroyed || sessions.find(live) !== undefined;
      if (!isHeld) sessions.adopt(live);
    },

    leave(live) {
      live.holders--;
      if (live.holders === 0) live.settle();
      const local = sessions.find(live);
      if (local !== undefined) local.lastUsedMs = clock.monotonicMs();
    },

    async keep(live, change) {
      const local = sessions.find(live) ?? sessions.adopt(live);
      maintenance.noteIdleTimeout(live.idleTimeoutMs);
      if (options.backup === "async" && !isLagging(local)) {
        background.run(() => backups.upTo(local, change).catch((error: unknown) => tellFailed(live, error)));
        return "stored";
      }
      return within(options.backupTimeoutMs, backUp(local, change));
    },

    async destroy(live) {
      const { id } = live.identity;
      const local = sessions.find(live);
      sessions.remove(id);
      if (local !== undefined) backups.forget(local);
      dying.add(id);
      await bury(live, parts).finally(() => dying.delete(id));
    },

    async reload(live) {
      return live.destroyed || sessions.find(live) === undefined ? undefined : live;
    },
  };

  function tellFailed({ identity }: LiveSession, thrown: unknown): void {
    const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
    events.emit("commitFailed", { session: identity.name, error });
  }

  function isLagging(local: LocalSession): boolean {
    return (
      local.unsavedSinceMs !== undefined &&
      clock.monotonicMs() - local.unsavedSinceMs > options.maxBackupLagMs
    );
  }

  async function backUp(local: LocalSession, change: number): Promise<"stored" | "discarded" | "kept"> {
    try {
      return outcomeOf(await backups.upTo(local, change));
    } catch (error) {
      if (!isOutage(error)) throw error;
      // Two time-outs may be our own fault. Only where no node answers when asked once more is memory all there is.
      const reachable = await Promise.all(ring.nodes.map((node) => node.check()));
      if (reachable.includes(true)) return outcomeOf(await backups.upTo(local, change));
      events.emit("kept", { session: local.live.identity.name });
      return "kept";
    }
  }

  function within<T>(limitMs: number, work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = clock.after(limitMs, () =>
        reject(new MsmError("MSM_ERR_STORAGE_TIMEOUT", `the session was not backed up within ${limitMs} ms`)),
      );
      work.then(resolve, reject).finally(cancel);
    });
  }
}

const outcomeOf = (kind: "stored" | "destroyed") => (kind === "stored" ? "stored" : "discarded");

const outages = new Set([
  "MSM_ERR_STORAGE_UNAVAILABLE",
  "MSM_ERR_STORAGE_TIMEOUT",
  "MSM_ERR_STORAGE_PROTOCOL",
]);
const isOutage = (error: unknown) => error instanceof MsmError && outages.has(error.code);
