import { createCodecs } from "./codec/codecs.js";
import { deriveKeys } from "./cookie/keys.js";
import { createSessionCookies } from "./cookie/session-cookie.js";
import { MsmError } from "./errors.js";
import { createEvents, type SessionEvents, type Unsubscribe } from "./events.js";
import { connect } from "./failover/connect.js";
import type { NodeHealth } from "./failover/health.js";
import { parseFailoverNodes, parseNodes } from "./failover/nodes-option.js";
import { Replicas } from "./failover/replicas.js";
import { Ring, type RingMember } from "./failover/ring.js";
import type { SessionExchange, SessionRequest } from "./life-cycle/exchange.js";
import type { Mode } from "./life-cycle/mode.js";
import { nonStickyMode } from "./life-cycle/non-sticky.js";
import { OpenExchanges } from "./life-cycle/open-exchanges.js";
import type { RequestExchange } from "./life-cycle/request-exchange.js";
import { stickyMode } from "./life-cycle/sticky.js";
import { withoutSession } from "./life-cycle/without-session.js";
import { createLocking } from "./locking/locking.js";
import type { ResolvedOptions, SessionManagerOptions } from "./options.js";
import type { Parts } from "./parts.js";
import { resolveOptions } from "./resolve-options.js";
import { lastTable, mergeTables } from "./session/merge.js";
import { createSealer } from "./session/record.js";
import type { Session } from "./session/session.js";
import { identify, isSessionId } from "./session/session-id.js";
import { countEvents, type SessionStats } from "./stats.js";
import { memoryStorage } from "./storage/memory.js";

/** Keeps the sessions of one application process. */
export interface SessionManager {
  /**
   * Finds, takes over, relocates or creates the session of a request.
   * Rejects with MSM_ERR_STORAGE_UNAVAILABLE where the session cannot be read (see `onStorageError`), and with
   * MSM_ERR_CLOSED after `close()`.
   */
  open(request: SessionRequest): Promise<SessionExchange>;
  /**
   * Runs `work` on a stored session outside of any request: for WebSocket messages, jobs, timers. What it changes is
   * saved when it is done, unless it throws. Counts as a use of the session.
   *
   * In sticky mode, call it in the process that owns the session; done elsewhere, the owner sees the change when it saves
   * the session next.
   *
   * @param id the session id, e.g. `req.session.id` of the request that began the work
   * @returns what `work` gives. Rejects with what it throws, with MSM_ERR_SESSION_GONE where there is no such session, and
   *   as `open()` and `session.save()` do
   */
  withSession<T>(id: string, work: (session: Session) => T | Promise<T>, options?: WorkOptions): Promise<T>;
  /** Calls `listener` on each event; what it throws is ignored. @returns what ends the subscription */
  on<E extends keyof SessionEvents>(event: E, listener: (detail: SessionEvents[E]) => void): Unsubscribe;
  /** Counts since the start, and what is held now. */
  stats(): SessionStats;
  /** What is thought of each node now, in ring order. */
  health(): readonly NodeHealth[];
  /**
   * Refuses new requests, waits for those that are open and saves what is still to be saved, at most
   * `closeTimeoutMs`, then ends all connections. Safe to call twice.
   */
  close(): Promise<void>;
}

/** How work is done on a session outside of a request. */
export interface WorkOptions {
  /**
   * Whether it has the session to itself. Default: true where requests lock ("all", "auto", a pattern or a predicate), else
   * false.
   */
  readonly lock?: boolean;
}

/** Checks the options and starts a manager. Throws MSM_ERR_OPTION on an option that makes no sense. */
export function createSessionManager(options: SessionManagerOptions): SessionManager {
  const resolved = resolveOptions(options);
  const parts = createParts(resolved, options);
  const mode = resolved.mode.kind === "sticky" ? stickyMode(resolved.mode, parts) : nonStickyMode(parts);
  return manage(mode, parts);
}

function createParts(resolved: ResolvedOptions, options: SessionManagerOptions): Parts {
  const { clock } = resolved;
  const events = createEvents();
  const keys = deriveKeys(resolved.secrets);
  const sealer = createSealer(keys.record);
  const ring = new Ring(
    ringMembers(resolved, options, (message) => events.emit("warning", { message })),
    {
      clock,
      events,
      recordLife: { longestMs: resolved.idleTimeoutMs },
    },
  );
  return {
    options: resolved,
    clock,
    random: Math.random,
    events,
    sealer,
    ring,
    codecs: createCodecs(resolved.codec),
    exchanges: new OpenExchanges(),
    locking: createLocking(resolved.locking, clock),
    merge: resolved.saves === "whole" ? lastTable : mergeTables,
    cookies: createSessionCookies(resolved.cookie, keys.cookie, clock),
    replicas: new Replicas({
      ring,
      sealer,
      events,
      clock,
      keyPrefix: resolved.keyPrefix,
      idleTimeoutMs: resolved.idleTimeoutMs,
    }),
  };
}

function ringMembers(
  { clock, operationTimeoutMs }: ResolvedOptions,
  { nodes: option, failoverNodes = [] }: SessionManagerOptions,
  onWarning: (message: string) => void,
): readonly RingMember[] {
  if (option === undefined) {
    if (process.env.NODE_ENV === "production") {
      process.emitWarning("no `nodes` are configured: sessions are in this process' memory only", {
        code: "MSM_WARN_MEMORY_ONLY",
      });
    }
    return [{ id: "n1", storage: memoryStorage({ clock }), failoverOnly: false }];
  }
  const nodes = parseNodes(option);
  const failover = parseFailoverNodes(failoverNodes, nodes);
  return nodes.map((node) => ({
    id: node.id,
    storage: connect(node, { operationTimeoutMs, onWarning }),
    failoverOnly: failover.includes(node.id),
  }));
}

function manage(mode: Mode, parts: Parts): SessionManager {
  const { events, ring, replicas, exchanges, clock, options } = parts;
  const counts = countEvents(events);
  let closing: Promise<void> | undefined;

  return {
    async open(request) {
      begin();
      try {
        return await mode.open(request);
      } catch (error) {
        exchanges.end();
        if (options.onStorageError === "reject" || !isStorageTrouble(error)) throw error;
        return withoutSession;
      }
    },
    async withSession(id, work, { lock = parts.locking.locksWork } = {}) {
      begin();
      const exchange = await openById(id, lock).catch((error: unknown) => {
        exchanges.end();
        throw error;
      });
      return workIn(exchange, work);
    },
    on: (event, listener) => events.on(event, listener),
    stats: () => ({ events: { ...counts }, ...mode.gauges() }),
    health: () => ring.health(),
    close() {
      closing ??= shutDown();
      return closing;
    },
  };

  function begin(): void {
    if (closing !== undefined) throw new MsmError("MSM_ERR_CLOSED", "the session manager is closed");
    exchanges.begin();
  }

  async function openById(id: string, lock: boolean): Promise<RequestExchange> {
    const exchange = isSessionId(id) ? await mode.openById(identify(id), { lock }) : undefined;
    if (exchange === undefined) throw new MsmError("MSM_ERR_SESSION_GONE", "there is no session of that id");
    return exchange;
  }

  async function shutDown(): Promise<void> {
    await Promise.race([
      drain(),
      new Promise<void>((resolve) => clock.after(options.closeTimeoutMs, resolve)),
    ]);
    replicas.close();
    await ring.close();
  }

  /** What is unsaved is saved at once: an open stream may last longer than there is time. */
  async function drain(): Promise<void> {
    await Promise.all([exchanges.ended(), mode.drain()]);
    await mode.drain();
  }
}

async function workIn<T>(exchange: RequestExchange, work: (session: Session) => T | Promise<T>): Promise<T> {
  exchange.answerNobody();
  try {
    const result = await work(exchange.session);
    const { error } = await exchange.commit();
    if (error !== undefined) throw error;
    return result;
  } catch (error) {
    exchange.discard();
    throw error;
  } finally {
    await exchange.end();
  }
}

const isStorageTrouble = (error: unknown) =>
  error instanceof MsmError && error.code.startsWith("MSM_ERR_STORAGE_");
