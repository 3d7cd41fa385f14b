import { type CarriedSession, hintOf, identityOf } from "../cookie/session-tokens.js";
import type { MsmError } from "../errors.js";
import type { Hint, ReadResult } from "../failover/record-search.js";
import { type Leased, Leases } from "../locking/leases.js";
import type { SessionLock } from "../locking/session-lock.js";
import { waitingFor } from "../locking/waiting.js";
import type { Parts } from "../parts.js";
import type { LiveSession } from "../session/live-session.js";
import { identify, type SessionIdentity } from "../session/session-id.js";
import { bury, noteEnd } from "./bury.js";
import { CopyRenewals } from "./copy-renewals.js";
import type { SessionRequest } from "./exchange.js";
import { type Keeper, tellSuccessor } from "./keeper.js";
import {
  create,
  findAndRevive,
  follow,
  goneError,
  isFound,
  load,
  loadWithLease,
  revive,
  type Search,
} from "./load.js";
import { lockOrNot } from "./lock-or-not.js";
import type { Mode } from "./mode.js";
import { OpenExchanges } from "./open-exchanges.js";
import { noRequest, RequestExchange } from "./request-exchange.js";
import { mergeWith, type SaveContext, save } from "./save.js";

/** The nodes hold the sessions: any process serves any request, and keeps nothing once it is answered. */
export function nonStickyMode(parts: Parts): Mode {
  const copies = new CopyRenewals(parts);
  const leases = createLeases(parts);
  const exchanges = new OpenExchanges();
  const keeper = nonStickyKeeper({ exchanges, copies, leases }, parts);
  const { clock, options } = parts;

  let successor: Pick<Mode, "catchUp"> | undefined;

  return {
    exchanges,
    open(request) {
      const cookie = (request.tokens ?? parts.cookies).read(request.cookieHeader);
      if (cookie === undefined) return exchangeFor(request, cookie, undefined);
      return findFor(request, cookie).then((found) => exchangeFor(request, cookie, found));
    },
    async openById(identity, { lock }) {
      const guess = parts.ring.place(identity.digest).id;
      const found = await find(identity, { guess }, lock);
      // A node that did not answer is where the client's cookie most likely leads.
      if (found?.live.lookedForOn.includes(guess) === false) found.live.announcedNode = guess;
      return found && new RequestExchange({ request: noRequest, ...found, isFound: true }, keeper, parts);
    },
    gauges: () => ({ localSessions: 0, unsavedSessions: 0, waitingRequests: leases.waiting }),
    drain: () => copies.drain(),
    release: () => leases.giveBack(),
    flush: async () => {},
    async handOver(identity, hint, waiting) {
      if (waiting === undefined) return;
      const { lock } = await leases.take(identity, waiting, (lease) =>
        loadWithLease(identity, hint, lease, parts),
      );
      await lock?.release();
    },
    endWith(next) {
      if (successor === undefined) tellSuccessor(keeper, () => successor!);
      successor = next;
    },
    catchUp: async () => {}, // nothing is held here
  };

  function exchangeFor(
    request: SessionRequest,
    cookie: CarriedSession | undefined,
    found: FoundSession | undefined,
  ): RequestExchange {
    const isFound = found !== undefined;
    const live = isFound ? found.live : create(parts, request);
    return new RequestExchange(
      { request, cookie, isLearnt: true, live, lock: found?.lock, isFound },
      keeper,
      parts,
    );
  }

  function findFor(request: SessionRequest, cookie: CarriedSession) {
    const identity = identityOf(cookie);
    const hint = hintOf(cookie, identity, parts.ring);
    return parts.locking.locks(request)
      ? find(identity, hint, true, request.onClose)
      : findUnlocked(identity, hint);
  }

  /** What most requests do, in as few steps as can be. */
  function findUnlocked(identity: SessionIdentity, hint: Hint): Promise<FoundSession | undefined> {
    return load(identity, hint, parts).then((found) => {
      const first = { identity, found, lock: undefined };
      return isFound(found) ? revived(first, hint) : goOn(first, hint, false);
    });
  }

  async function find(
    start: SessionIdentity,
    hint: Hint,
    wantsLock: boolean,
    onClose?: SessionRequest["onClose"],
  ): Promise<FoundSession | undefined> {
    const first = await look(start, hint, wantsLock, onClose);
    return goOn({ identity: start, ...first }, hint, wantsLock, onClose);
  }

  async function goOn(
    first: Search,
    startHint: Hint,
    wantsLock: boolean,
    onClose?: SessionRequest["onClose"],
  ): Promise<FoundSession | undefined> {
    const lookFor = (identity: SessionIdentity, hint: Hint) => look(identity, hint, wantsLock, onClose);
    const search = await follow(first, lookFor, parts);
    try {
      return isFound(search.found) ? revived(search, startHint) : undefined;
    } catch (error) {
      await search.lock?.release();
      throw error;
    }
  }

  function look(
    identity: SessionIdentity,
    hint: Hint,
    wantsLock: boolean,
    onClose?: SessionRequest["onClose"],
  ): Promise<Leased<ReadResult>> {
    const locked = () =>
      leases.take(identity, waitingFor(options.lockTimeoutMs, clock, onClose), (lease) =>
        loadWithLease(identity, hint, lease, parts),
      );
    const unlocked = async () => ({ found: await load(identity, hint, parts), lock: undefined });
    return lockOrNot({ identity, wantsLock, locked, unlocked }, parts);
  }

  function revived({ identity, found, lock }: Search, startHint: Hint): FoundSession | undefined {
    if (!isFound(found)) return undefined;
    if (typeof startHint !== "string" || found.node.id === startHint) copies.renewSoon(identity, found);
    else copies.makeSoon(identity, found);
    return new FoundSession(revive(identity, found, parts), lock);
  }
}

/** A session that was found, and what the request has it to itself with. */
class FoundSession {
  readonly live: LiveSession;
  readonly lock: SessionLock | undefined;

  constructor(live: LiveSession, lock: SessionLock | undefined) {
    this.live = live;
    this.lock = lock;
  }
}

function createLeases(parts: Parts): Leases {
  const { clock, events, options } = parts;
  return new Leases(options, {
    clock,
    random: parts.random,
    onLost: (session, heldMs) => events.emit("leaseLost", { session, heldMs }),
  });
}

/** How a request saves what it has changed. A class, see storage/answers.ts. */
class RequestContext implements SaveContext {
  readonly route = "";
  /** A process that has only this request's copy does not write again what no node has any more. */
  readonly recreate = false;
  readonly lock: SessionLock | undefined;

  constructor(lock: SessionLock | undefined) {
    this.lock = lock;
  }
}

interface NonStickyParts {
  readonly exchanges: OpenExchanges;
  readonly copies: CopyRenewals;
  readonly leases: Leases;
}

function nonStickyKeeper({ exchanges, copies, leases }: NonStickyParts, parts: Parts): Keeper {
  /** @param lock what is given back together with the save */
  async function keepWithCopy(
    live: LiveSession,
    lock: SessionLock | undefined,
  ): Promise<"stored" | "discarded"> {
    let refused: MsmError | undefined;
    for (;;) {
      const saved = await save(live, new RequestContext(lock), parts).catch((error: unknown) => {
        throw refused ?? error;
      });
      if (saved.kind === "ended") {
        noteEnd(live, saved.successor, parts);
        return "discarded";
      }
      void lock?.release();
      const copy = await parts.replicas.copy(live.identity, live.node, saved.bytes, saved.ttlMs);
      if (copy.kind === "ended") {
        noteEnd(live, copy.successor, parts);
        return "discarded";
      }
      if (copy.kind !== "newer") {
        if (refused !== undefined) throw refused;
        if (copy.kind === "copied") copies.noteWritten(live.identity);
        return "stored";
      }
      // Two processes had written to different nodes, each over the version that this write replaced. What stands is
      // saved in any case, as the primary has what was refused.
      const refusal = mergeWith(copy.found, live, parts, saved.replaced);
      refused ??= refusal;
    }
  }

  return {
    exchanges,
    route: undefined,
    enter() {},
    leave() {},

    async lock(live, waiting) {
      const { stored, identity } = live;
      if (stored === undefined) return undefined;
      const { found, lock } = await leases.take(identity, waiting, (lease) =>
        loadWithLease(identity, live.node, lease, parts),
      );
      if (!isFound(found)) {
        if (found !== "absent") noteEnd(live, found.successor, parts);
        throw goneError();
      }
      try {
        const isNewer = found.record.writeId !== stored.writeId;
        const refusal = isNewer ? mergeWith(found, live, parts) : undefined;
        if (refusal !== undefined) throw refusal;
        return lock;
      } catch (error) {
        await lock?.release();
        throw error;
      }
    },

    keep(live, _change, lock) {
      // The next one reads what the primary has; the copy need not be there for that. But while a node is in trouble, the
      // copy may tell that another process has gone on elsewhere.
      if (parts.ring.nodes.every((node) => node.isSound)) return keepWithCopy(live, lock);
      return keepWithCopy(live, undefined); // given back with the commit
    },

    destroy: (live, successor) => bury(live, parts, successor),
    find: ({ id, node }) => findAndRevive(identify(id), node, parts),

    async reload(live) {
      if (live.stored === undefined) return undefined;
      const found = await load(live.identity, live.node, parts);
      if (isFound(found)) return revive(live.identity, found, parts);
      if (found !== "absent") noteEnd(live, found.successor, parts);
      return undefined;
    },
  };
}
