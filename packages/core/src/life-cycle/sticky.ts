import { Background, forEachLimited } from "../background.js";
import { type CarriedSession, hintOf } from "../cookie/session-tokens.js";
import { MsmError } from "../errors.js";
import type { FoundRecord } from "../failover/node-reader.js";
import type { Hint, ReadResult } from "../failover/record-search.js";
import type { ResolvedStickyOptions } from "../options.js";
import type { Parts } from "../parts.js";
import type { LiveSession } from "../session/live-session.js";
import type { Successor, SuccessorPlace } from "../session/record.js";
import { identify, type SessionIdentity } from "../session/session-id.js";
import { Backups } from "./backups.js";
import { bury, noteEnd } from "./bury.js";
import { resolverForAcknowledged } from "./conflicts.js";
import type { SessionRequest } from "./exchange.js";
import { Handovers } from "./handovers.js";
import { type Keeper, tellSuccessor } from "./keeper.js";
import { create, follow, goneError, isFound, load, revive } from "./load.js";
import { LocalLocks, type LockedSession, unlocked } from "./local-locks.js";
import { type LocalSession, LocalSessions } from "./local-sessions.js";
import { type Maintenance, startMaintenance } from "./maintenance.js";
import type { Mode } from "./mode.js";
import { OpenExchanges } from "./open-exchanges.js";
import { RecentEnds } from "./recent-ends.js";
import { heirOf } from "./renewal.js";
import { noRequest, RequestExchange } from "./request-exchange.js";
import { mergeWith, type Saved } from "./save.js";
import { visitorKeeper } from "./visitor.js";
import { WaitLimits } from "./wait-limits.js";

/** What of the options is for sessions that live in a process. May change while they do. */
export type InProcessOptions = Omit<ResolvedStickyOptions, "kind" | "route"> & {
  /** Undefined where requests may go anywhere: nothing is stored, and each process has sessions of its own. */
  readonly route: string | undefined;
};

/**
 * The sessions live in this process, and the nodes hold their backup; while nothing is stored (`enabled: false`), the
 * sessions of either mode live so.
 */
export function stickyMode(options: InProcessOptions, parts: Parts): Mode {
  const exchanges = new OpenExchanges();
  const sessions = new LocalSessions(options, parts);
  const recentEnds = new RecentEnds(parts);
  const backups = new Backups(options, parts);
  const background = new Background();
  const dying = new Map<string, LiveSession>();
  const route = options.route ?? "";
  const handovers =
    route === ""
      ? noHandovers
      : new Handovers(route, parts, (digests) => maintenance.settle(sessions.doubt(digests)));
  const { takeOver, underWay } = takeOverOnce(route, { sessions, dying, backups, handovers }, parts);
  const maintenance = startMaintenance(sessions, backups, background, parts);
  const locks = new LocalLocks(parts);
  const keeper = stickyKeeper(
    options,
    { exchanges, sessions, dying, recentEnds, backups, background, maintenance, locks, takeOver },
    parts,
  );

  let successor: Pick<Mode, "catchUp"> | undefined;

  return {
    exchanges,
    open(request) {
      const cookie = (request.tokens ?? parts.cookies).read(request.cookieHeader);
      if (cookie === undefined) return exchangeFor(request, cookie, undefined);
      const mine = mineAtOnce(request, cookie);
      if (mine !== undefined) return exchangeFor(request, cookie, mine);
      return lockAndFind(request, cookie).then((found) => exchangeFor(request, cookie, found));
    },
    async openById(identity, { lock: wantsLock }) {
      const find = () => findById(identity);
      const found = wantsLock ? await locks.takeAndFind(identity, find) : unlocked(await find());
      if (found === undefined) return undefined;
      const { session, lock } = found;
      const start = { request: noRequest, live: session.live, lock, isFound: true };
      return new RequestExchange(start, session.keeper, parts);
    },
    gauges: () => ({
      localSessions: sessions.size,
      unsavedSessions: backups.unsaved.length,
      waitingRequests: locks.waiting,
    }),
    async drain() {
      maintenance.stop();
      handovers.stop();
      recentEnds.stop();
      await Promise.allSettled(backups.unsaved.map((local) => backups.upTo(local, local.live.changes)));
      await background.drain();
      if (!parts.ring.isOff)
        await forEachLimited(sessions.sweep().filter(isReadSince), flushedAtOnce, maintenance.renew);
    },
    release: async () => {}, // its locks are in this process
    async flush(looksAtAll) {
      const trouble: unknown[] = [];
      const noting = (work: () => Promise<unknown>) => work().catch((error: unknown) => trouble.push(error));
      await forEachLimited(backups.unsaved, flushedAtOnce, (local) =>
        noting(() => backups.upTo(local, local.live.changes)),
      );
      const others = sessions
        .sweep()
        .filter((local) => !local.live.unsaved && local.live.stored !== undefined);
      const looked = looksAtAll ? others : others.filter(isReadSince);
      await forEachLimited(looked, flushedAtOnce, (local) => noting(() => maintenance.renew(local)));
      const outage = trouble.find(isOutage);
      if (outage !== undefined) throw outage;
    },
    async handOver(identity, _hint, waiting) {
      if (waiting !== undefined) await (await locks.take(identity, waiting)).release();
      const local = sessions.held(identity.id);
      if (local?.live.unsaved !== true) return;
      const save = () => backups.upTo(local, local.live.changes);
      await save().catch(save); // one that was under way may have begun when the nodes did not answer
    },
    endWith(next) {
      if (successor === undefined) tellSuccessor(keeper, () => successor!);
      successor = next;
    },
    async catchUp(identity) {
      await underWay.get(identity.id)?.catch(() => {}); // what it found may be out of date already
      const local = sessions.held(identity.id);
      if (local === undefined) return;
      const isIdle = local.live.holders === 0 && !local.live.unsaved;
      if (isIdle) sessions.remove(identity.id);
      else await catchUpWithNodes(local, { sessions, parts });
    },
  };

  function exchangeFor(
    request: SessionRequest,
    cookie: CarriedSession | undefined,
    found: LockedSession<LocalSession> | undefined,
  ): RequestExchange {
    const isFound = found !== undefined;
    const live = isFound ? found.session.live : create(parts, request);
    return new RequestExchange(
      { request, cookie, isLearnt: true, live, lock: found?.lock, isFound },
      keeper,
      parts,
    );
  }

  /** What most requests of a sticky session are: in the process that owns it, and in nobody's way. */
  function mineAtOnce(request: SessionRequest, cookie: CarriedSession) {
    return parts.locking.locks(request) || dying.has(cookie.id) ? undefined : unlocked(mine(cookie));
  }

  async function lockAndFind(request: SessionRequest, cookie: CarriedSession) {
    const find = async () => {
      const ending = dying.get(cookie.id);
      return ending === undefined ? (mine(cookie) ?? (await takeOver(cookie))) : heldHeirOf(ending, sessions);
    };
    return parts.locking.locks(request)
      ? locks.takeAndFind(identify(cookie.id), find, request.onClose)
      : unlocked(await find());
  }

  /** No I/O at all where the balancer sent the request to the owner. */
  function mine(cookie: CarriedSession): LocalSession | undefined {
    if (cookie.route !== options.route) return undefined;
    return sessions.useTrusted(cookie.id);
  }

  /** Work may be done where the session is not: then it stays its owner's. */
  async function findById(
    start: SessionIdentity,
  ): Promise<{ live: LiveSession; keeper: Keeper } | undefined> {
    const ending = dying.get(start.id);
    const local = ending === undefined ? sessions.useTrusted(start.id) : heldHeirOf(ending, sessions);
    if (ending !== undefined && local === undefined) return undefined;
    if (local !== undefined) return { live: local.live, keeper };

    const look = async (identity: SessionIdentity, hint: Hint) => ({
      found: await load(identity, hint, parts),
      lock: undefined,
    });
    const guess = parts.ring.place(start.digest).id;
    const first = { identity: start, ...(await look(start, { guess })) };
    const { identity, found } = await follow(first, look, parts);
    if (!isFound(found)) return undefined;
    const { route } = found.record;
    if (route !== options.route && route !== "" && options.route !== undefined) {
      const tellOwner = (live: LiveSession) => handovers.tell(route, live.identity);
      return {
        live: revive(identity, found, parts),
        keeper: visitorKeeper(route, tellOwner, recentEnds, exchanges, parts),
      };
    }
    const taken = await takeOver({ id: identity.id, node: found.node.id, route: options.route, value: "" });
    return taken && { live: taken.live, keeper };
  }
}

/** Where a session goes on that ended in this process. */
function heldHeirOf(ending: LiveSession, sessions: LocalSessions): LocalSession | undefined {
  const heir = heirOf(ending);
  return heir && (sessions.find(heir) ?? sessions.adopt(heir));
}

/** Nobody else has sessions of a process without a route. */
const noHandovers: Pick<Handovers, "tell" | "stop"> = { tell() {}, stop() {} };

/** How many sessions are handed to the nodes at a time. */
const flushedAtOnce = 16;

/** It was read since its record got its time to live, which would end noticeably before the session's. */
const isReadSince = ({ live, lastUsedMs, renewedMs }: LocalSession) =>
  live.stored !== undefined && !live.unsaved && lastUsedMs - renewedMs > live.idleTimeoutMs / 20;

/** Takes in what the nodes have; where they do not tell, the version check of the next save does. */
async function catchUpWithNodes(
  { live }: LocalSession,
  { sessions, parts }: { readonly sessions: LocalSessions; readonly parts: Parts },
): Promise<void> {
  const found = await load(live.identity, live.node, parts).catch(() => "absent" as const);
  if (found === "absent") return;
  if (found.kind === "ended") {
    noteEnd(live, found.successor, parts);
    sessions.remove(live.identity.id);
  } else takeIn(found, live, parts);
}

/** Another has gone on with a session that this process has in memory. */
function takeIn(found: FoundRecord, live: LiveSession, parts: Parts): void {
  const known = live.stored?.revision.version ?? "";
  // Where the other's values stand, the request that wrote ours has long been answered, or told.
  if (found.revision.version > known) mergeWith(found, live, parts);
}

/** No node is waited for as long as that. */
const answersWithinMs = 10_000;

/** How long after a node went down its sessions' owners may need to move the backups; later nobody will. */
const ownerMovesWithinMs = 10_000;

/**
 * Takes a session over from the nodes, once for all requests that want it at the same time. A save under the version
 * check makes this process the owner, so that a late write of the former one meets a conflict.
 */
function takeOverOnce(
  route: string,
  {
    sessions,
    dying,
    backups,
    handovers,
  }: Pick<StickyParts, "sessions" | "dying" | "backups"> & {
    readonly handovers: Pick<Handovers, "tell">;
  },
  parts: Parts,
) {
  const underWay = new Map<string, Promise<LocalSession | undefined>>();
  return { takeOver, underWay };

  function takeOver(cookie: CarriedSession): Promise<LocalSession | undefined> {
    const running = underWay.get(cookie.id);
    if (running !== undefined) return running;
    const takingOver = run(cookie).finally(() => underWay.delete(cookie.id));
    underWay.set(cookie.id, takingOver);
    return takingOver;
  }

  async function run(cookie: CarriedSession): Promise<LocalSession | undefined> {
    const identity = identify(cookie.id);
    const held = sessions.use(identity.id);
    const found = await findNewest(identity, cookie).catch((error: unknown) => {
      // What is in memory serves on while the nodes do not answer, but not where it is known to be out of date.
      const isElsewhere = cookie.route !== undefined && cookie.route !== route;
      if (held === undefined || held.isDoubted || isElsewhere) throw error;
      return "absent" as const;
    });
    if (found === "absent") return held;
    if (found.kind === "ended") {
      if (held !== undefined) noteEnd(held.live, found.successor, parts);
      sessions.remove(identity.id);
      return followTo(found.successor, cookie);
    }

    // It was ended here while the node was asked.
    const ending = dying.get(identity.id);
    if (ending !== undefined) return heldHeirOf(ending, sessions);

    const local = held ?? sessions.add(revive(identity, found, parts));
    if (held !== undefined) {
      takeIn(found, held.live, parts);
      held.isDoubted = false;
    }
    if (found.record.route === route && !local.live.unsaved) return local;
    return own(local, found.record.route, cookie);
  }

  /** The session got a new id a short while ago, and the client does not know it yet. */
  async function followTo(
    successor: Successor | undefined,
    cookie: CarriedSession,
  ): Promise<LocalSession | undefined> {
    if (successor === undefined || parts.clock.now() >= successor.untilMs) return undefined;
    return takeOver({ ...cookie, id: successor.id, node: successor.node });
  }

  /**
   * A sticky session has one backup, on the node that the cookie names. What another node has may be older, until the
   * owner, which the cookie names as well, has moved the backup there.
   */
  async function findNewest(identity: SessionIdentity, cookie: CarriedSession): Promise<ReadResult> {
    const hint = hintOf(cookie, identity, parts.ring);
    const found = await load(identity, hint, parts);
    const hinted = typeof hint === "string" ? parts.ring.node(hint) : undefined;
    if (!isFound(found) || hinted === undefined || found.node === hinted) return found;

    if (await hinted.check()) {
      const again = await load(identity, hint, parts); // it only missed one question
      if (!isFound(again) || again.node === hinted) return again;
      throw silentError(cookie);
    }
    const { route: owner, home } = found.record;
    const isMoved = cookie.route === undefined || (owner === cookie.route && home !== cookie.node);
    if (isMoved || hinted.downMs > ownerMovesWithinMs) return found;
    throw silentError(cookie);
  }

  async function own(
    local: LocalSession,
    from: string,
    cookie: CarriedSession,
  ): Promise<LocalSession | undefined> {
    const saved = await backups.again(local).catch(() => "unsaved" as const); // pushed later, as any failed backup
    if (from !== "" && from !== route) handovers.tell(from, local.live.identity);
    if (saved === "ended") {
      sessions.remove(local.live.identity.id);
      const { successor } = local.live;
      return successor && takeOver({ ...cookie, id: successor.id, node: successor.node });
    }
    if (saved === "stored") {
      const { name } = local.live.identity;
      parts.events.emit("takenOver", { session: name, from: from === "" ? undefined : from, to: route });
    }
    return local;
  }
}

const silentError = ({ node, route }: CarriedSession) =>
  new MsmError(
    "MSM_ERR_STORAGE_UNAVAILABLE",
    `node ${node} does not answer, and ${route} has not moved the session's backup from it yet`,
  );

interface StickyParts {
  readonly exchanges: OpenExchanges;
  readonly sessions: LocalSessions;
  /** Sessions by id that ended a short while ago: a node may still give the session, and nobody may have it. */
  readonly dying: Map<string, LiveSession>;
  readonly recentEnds: RecentEnds;
  readonly locks: LocalLocks;
  readonly takeOver: (cookie: CarriedSession) => Promise<LocalSession | undefined>;
  readonly backups: Backups;
  readonly background: Background;
  readonly maintenance: Maintenance;
}

function stickyKeeper(
  options: InProcessOptions,
  { exchanges, sessions, dying, recentEnds, locks, takeOver, backups, background, maintenance }: StickyParts,
  parts: Parts,
): Keeper {
  const { clock, events, ring } = parts;
  const limits = new WaitLimits(clock, lateBackupError);

  return {
    exchanges,
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

    async lock(live, waiting) {
      if (!live.announced) return undefined;
      const lock = await locks.take(live.identity, waiting);
      if (!live.destroyed) return lock;
      await lock.release();
      throw goneError();
    },

    keep(live, change) {
      const local = sessions.find(live) ?? sessions.adopt(live);
      maintenance.noteIdleTimeout(live.idleTimeoutMs);
      if (ring.isOff) {
        backups.postpone(local);
        return "kept";
      }
      // Beside its end a change may meet a conflict under the new id, which its request must be told.
      const isBesideEnd = live.endsUnderWay > 0;
      if (options.backup === "async" && !isLagging(local) && !isBesideEnd) {
        background.run(() => backUpLater(local, change).catch((error: unknown) => tellFailed(live, error)));
        return "stored";
      }
      return limits.within(options.backupTimeoutMs, backUp(local, change));
    },

    find: findHeir,

    async destroy(live, successor) {
      const { id } = live.identity;
      const local = sessions.find(live);
      sessions.remove(id);
      if (local !== undefined) backups.forget(local);
      dying.set(id, live);
      recentEnds.note(live, successor);
      // Somebody may have asked a node before, and get its answer yet.
      return bury(live, parts, successor).finally(() => clock.after(answersWithinMs, () => dying.delete(id)));
    },

    async reload(live) {
      return live.destroyed || sessions.find(live) === undefined ? undefined : live;
    },
  };

  async function findHeir({ id, node }: SuccessorPlace): Promise<LiveSession | undefined> {
    const local = sessions.useTrusted(id) ?? (await takeOver({ id, node, route: undefined, value: "" }));
    return local?.live;
  }

  function tellFailed({ identity }: LiveSession, thrown: unknown): void {
    const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
    events.emit("commitFailed", { session: identity.name, error });
  }

  /** Its request was answered before the session got a new id meanwhile: nobody else takes the change along. */
  async function backUpLater(local: LocalSession, change: number): Promise<void> {
    const { live } = local;
    if ((await backups.upTo(local, change)) !== "ended" || live.successor === undefined) return;
    const { successor } = live;
    const next = successor.live ?? (await findHeir(successor));
    if (next === undefined) return;
    const resolve = resolverForAcknowledged(next.identity, parts);
    next.adopt(parts.merge(live.successor.base, live.table, next.table, resolve));
    live.successor = { ...live.successor, live: next, base: live.table };
    await backups.upTo(sessions.find(next) ?? sessions.adopt(next), next.changes);
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
}

const lateBackupError = (limitMs: number) =>
  new MsmError("MSM_ERR_STORAGE_TIMEOUT", `the session was not backed up within ${limitMs} ms`);

const outcomeOf = (kind: Saved["kind"]) => (kind === "stored" ? "stored" : "discarded");

const outages = new Set([
  "MSM_ERR_STORAGE_UNAVAILABLE",
  "MSM_ERR_STORAGE_TIMEOUT",
  "MSM_ERR_STORAGE_PROTOCOL",
]);
const isOutage = (error: unknown) => error instanceof MsmError && outages.has(error.code);
