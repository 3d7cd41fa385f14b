import type { SessionLock } from "../locking/session-lock.js";
import type { Waiting } from "../locking/waiting.js";
import type { LiveSession } from "../session/live-session.js";
import type { SuccessorPlace } from "../session/record.js";
import type { SessionIdentity } from "../session/session-id.js";
import type { CommitResult } from "./exchange.js";
import type { OpenExchanges } from "./open-exchanges.js";

/** What became of a commit that did not fail. */
export type Outcome = Exclude<CommitResult["outcome"], "failed">;

/** What a mode does for the sessions of one exchange. Chosen once, at start-up: sticky or non-sticky. */
export interface Keeper {
  /** Where the end of each exchange is counted. */
  readonly exchanges: Pick<OpenExchanges, "end">;
  /** The last part of the cookie; undefined where requests may go anywhere. */
  readonly route: string | undefined;
  /** A request begins to use a session, new or found. */
  enter(live: LiveSession): void;
  /**
   * Waits until the request has the session to itself, and brings the session up to date.
   * @returns undefined where no other request can have it
   * @throws MsmError MSM_ERR_LOCK_TIMEOUT, MSM_ERR_LOCK_QUEUE_FULL, MSM_ERR_SESSION_GONE, MSM_ERR_CONFLICT, or the
   *   storage's
   */
  lock(live: LiveSession, waiting: Waiting): Promise<SessionLock | undefined>;
  /**
   * Makes the session safe, at least up to `change`, as the mode promises.
   * @param lock what lets the next request in as soon as that does no harm; undefined where the request keeps its lock
   * @throws MsmError where it cannot
   */
  keep(live: LiveSession, change: number, lock: SessionLock | undefined): Outcome | Promise<Outcome>;
  /**
   * Ends a session on all nodes and in this process.
   * @param successor where the session goes on under a new id, to which the old one leads for a while
   * @returns where it goes on because another request had given it a new one
   * @throws MsmError where no node took the end
   */
  destroy(live: LiveSession, successor?: SuccessorPlace): Promise<SuccessorPlace | undefined>;
  /** Finds the session to which another one's former id led; undefined where there is none. @throws MsmError */
  find(place: SuccessorPlace): Promise<LiveSession | undefined>;
  /** The session as it is now; undefined where there is none any more. @throws MsmError where that cannot be known */
  reload(live: LiveSession): Promise<LiveSession | undefined>;
  /** The request is done with a session that it entered. */
  leave(live: LiveSession): void;
}

/** Tells another mode, from now on, of each session that a keeper has saved or ended. */
export function tellSuccessor(
  keeper: Keeper,
  successor: () => { catchUp(identity: SessionIdentity): Promise<void> },
): void {
  const { keep, destroy } = keeper;
  keeper.keep = async (live, change, lock) => {
    const outcome = await keep(live, change, lock);
    await successor().catchUp(live.identity);
    return outcome;
  };
  keeper.destroy = async (live, place) => {
    try {
      return await destroy(live, place);
    } finally {
      await successor().catchUp(live.identity);
    }
  };
}
