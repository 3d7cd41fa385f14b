import type { Clock } from "./clock.js";
import type { SessionTokens } from "./cookie/session-tokens.js";
import { createParts } from "./create-parts.js";
import { MsmError } from "./errors.js";
import type { SessionEvents, Unsubscribe } from "./events.js";
import { ringMember } from "./failover/connect.js";
import type { ManagerHealth, NodeHealth } from "./failover/health.js";
import { parseFailoverNodes, parseNodes } from "./failover/nodes-option.js";
import type { RingMember } from "./failover/ring.js";
import type { SessionExchange, SessionRequest } from "./life-cycle/exchange.js";
import type { Mode } from "./life-cycle/mode.js";
import type { RequestExchange } from "./life-cycle/request-exchange.js";
import { withoutSession } from "./life-cycle/without-session.js";
import { milliseconds } from "./milliseconds.js";
import type {
  ChangeableOptions,
  ResolvedCookieOptions,
  ResolvedOptions,
  SessionManagerOptions,
} from "./options.js";
import type { Parts } from "./parts.js";
import { Configuration, type MembersOf } from "./reconfigure.js";
import { resolveOptions } from "./resolve-options.js";
import type { Session } from "./session/session.js";
import { identify, isSessionId } from "./session/session-id.js";
import { countEvents, type SessionStats } from "./stats.js";
import { memoryStorage } from "./storage/memory.js";
import type { Storage } from "./storage/storage.js";
import { within } from "./within.js";

/** Keeps the sessions of one application process. */
export interface SessionManager {
  /**
   * Finds, takes over, relocates or creates the session of a request. A session that is in this process (sticky), or begins
   * with this request, is there at once; for the others there is a promise: `await` takes both.
   * Rejects with MSM_ERR_STORAGE_UNAVAILABLE where the session cannot be read (see `onStorageError`), and with
   * MSM_ERR_CLOSED after `close()`.
   */
  open(request: SessionRequest): SessionExchange | Promise<SessionExchange>;
  /**
   * Runs `work` on a stored session outside of any request: for WebSocket messages, jobs, timers. What it changes is
   * saved when it is done, unless it throws. Counts as a use of the session.
   *
   * In sticky mode, call it in the process that owns the session; done elsewhere, the owner sees the change within
   * a second.
   *
   * @param id the session id, e.g. `req.session.id` of the request that began the work
   * @returns what `work` gives. Rejects with what it throws, with MSM_ERR_SESSION_GONE where there is no such session, and
   *   as `open()` and `session.save()` do
   */
  withSession<T>(id: string, work: (session: Session) => T | Promise<T>, options?: WorkOptions): Promise<T>;
  /**
   * Reads and writes what stands in the session cookie. Gives the id for `withSession()` where there is no `open()`, as with
   * the Cookie header of a WebSocket's handshake.
   */
  readonly tokens: SessionTokens;
  /** The session cookie's options with every default filled in: for adapters that show or write the cookie themselves. */
  readonly cookie: ResolvedCookieOptions;
  /** Calls `listener` on each event; what it throws is ignored. @returns what ends the subscription */
  on<E extends keyof SessionEvents>(event: E, listener: (detail: SessionEvents[E]) => void): Unsubscribe;
  /** Counts since the start, and what is held now. */
  stats(): SessionStats;
  /** What is thought of each node now, and whether sessions can be served: for a readiness probe. */
  health(): ManagerHealth;
  /**
   * Changes options while sessions are served; no request fails of it. What is left out stays as it is. Called again
   * before it is done, the changes are made one after the other.
   *
   * Nodes that are new are connected to before they take sessions. Nodes that are taken out are read as long as they may
   * have what no other node has, see `health()`. With another `mode`, exchanges that are open end in the former one.
   *
   * @returns when it is done. Rejects with MSM_ERR_OPTION on an option that makes no sense or cannot be changed, with
   *   MSM_ERR_CLOSED after `close()`, and with MSM_ERR_STORAGE_* where sessions that live in this process could not be put on
   *   the nodes for a mode that needs them there. Then nothing has changed.
   */
  reconfigure(changes: ChangeableOptions): Promise<void>;
  /**
   * Refuses new requests, waits for those that are open, saves what is still to be saved, gives back what is locked,
   * offers the nodes what they missed, and ends all connections. All of it takes hardly longer than `timeoutMs`. Safe to
   * call twice.
   */
  close(options?: CloseOptions): Promise<void>;
}

/** How work is done on a session outside of a request. */
export interface WorkOptions {
  /**
   * Whether it has the session to itself. Default: true where requests lock ("all", "auto", a pattern or a predicate), else
   * false.
   */
  readonly lock?: boolean;
}

/** How a manager is closed. */
export interface CloseOptions {
  /** The longest to wait for what is still to be done, in milliseconds. Default: the option `closeTimeoutMs`. */
  readonly timeoutMs?: number;
}

/** Checks the options and starts a manager. Throws MSM_ERR_OPTION on an option that makes no sense. */
export function createSessionManager(options: SessionManagerOptions): SessionManager {
  const given = { ...options };
  const resolved = resolveOptions(given);
  const memory = memoryOnce(resolved.clock);
  let members: readonly RingMember[] = [];
  let warn: (message: string) => void = () => {};
  const membersOf: MembersOf = (now, named) => ringMembers(now, named, memory, (message) => warn(message));
  if (given.nodes === undefined && process.env.NODE_ENV === "production") warnOfMemory();
  const parts = createParts(resolved, (onWarning) => {
    warn = onWarning;
    members = membersOf(resolved, given);
    return members;
  });
  return manage(new Configuration({ given, resolved, members }, parts, membersOf), parts);
}

function warnOfMemory(): void {
  process.emitWarning("no `nodes` are configured: sessions are in this process' memory only", {
    code: "MSM_WARN_MEMORY_ONLY",
  });
}

/** The node of a process for which none is configured: always the same. */
function memoryOnce(clock: Clock): () => Storage {
  let storage: Storage | undefined;
  return () => (storage ??= memoryStorage({ clock }));
}

function ringMembers(
  { operationTimeoutMs }: ResolvedOptions,
  { nodes: option, failoverNodes = [] }: SessionManagerOptions,
  memory: () => Storage,
  onWarning: (message: string) => void,
): readonly RingMember[] {
  const nodes = option === undefined ? [{ id: "n1", storage: memory() }] : parseNodes(option);
  const failover = option === undefined ? [] : parseFailoverNodes(failoverNodes, nodes);
  return nodes.map((node) =>
    ringMember(node, { operationTimeoutMs, onWarning, failoverOnly: failover.includes(node.id) }),
  );
}

function manage(configuration: Configuration, parts: Parts): SessionManager {
  const { events, ring, replicas, clock, options } = parts;
  const { modes } = configuration;
  const counts = countEvents(events);
  let closing: Promise<void> | undefined;

  return {
    open(request) {
      try {
        const mode = begin();
        try {
          const opening = mode.open(request);
          return opening instanceof Promise ? opening.catch((error) => notOpened(mode, error)) : opening;
        } catch (error) {
          return notOpened(mode, error);
        }
      } catch (error) {
        return Promise.reject(error);
      }
    },
    async withSession(id, work, { lock = parts.locking.locksWork } = {}) {
      const mode = begin();
      const exchange = await openById(mode, id, lock).catch((error: unknown) => {
        mode.exchanges.end();
        throw error;
      });
      return workIn(exchange, work);
    },
    tokens: {
      read: (cookieHeader) => parts.cookies.read(cookieHeader),
      value: (id, node, route) => parts.cookies.value(id, node, route),
    },
    cookie: options.cookie,
    on: (event, listener) => events.on(event, listener),
    stats: () => ({ events: { ...counts }, ...modes.gauges() }),
    health,
    reconfigure: (changes) => configuration.change(changes),
    close({ timeoutMs } = {}) {
      const limitMs = timeoutMs === undefined ? options.closeTimeoutMs : milliseconds("timeoutMs", timeoutMs);
      closing ??= shutDown(limitMs);
      return closing;
    },
  };

  function notOpened(mode: Mode, error: unknown): SessionExchange {
    mode.exchanges.end();
    if (options.onStorageError === "reject" || !isStorageTrouble(error)) throw error;
    return withoutSession;
  }

  function begin(): Mode {
    if (closing !== undefined) throw new MsmError("MSM_ERR_CLOSED", "the session manager is closed");
    const mode = modes.current;
    mode.exchanges.begin();
    return mode;
  }

  async function openById(mode: Mode, id: string, lock: boolean): Promise<RequestExchange> {
    const exchange = isSessionId(id) ? await mode.openById(identify(id), { lock }) : undefined;
    if (exchange === undefined) throw new MsmError("MSM_ERR_SESSION_GONE", "there is no session of that id");
    return exchange;
  }

  function health(): ManagerHealth {
    const nodes = ring
      .health()
      .map(({ node, condition }) => ({ ...condition, missedRecords: replicas.missedBy(node) }));
    return { status: statusOf(nodes), nodes };
  }

  function statusOf(nodes: readonly NodeHealth[]): ManagerHealth["status"] {
    const members = nodes.filter(({ state }) => state !== "leaving");
    const reached = members.filter(({ state }) => state === "up" || state === "suspect");
    if (closing !== undefined || (reached.length === 0 && !configuration.isInProcess)) return "down";
    return reached.length < members.length ? "degraded" : "ok";
  }

  async function shutDown(limitMs: number): Promise<void> {
    const endMs = clock.monotonicMs() + limitMs;
    await within(limitMs, clock, Promise.all([configuration.close(), modes.drain()]));
    await within(options.operationTimeoutMs, clock, modes.release());
    await within(Math.max(0, endMs - clock.monotonicMs()), clock, replicas.deliverMissed());
    replicas.close();
    await ring.close();
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
