import type { LiveSession } from "../session/live-session.js";
import type { CommitResult } from "./exchange.js";

/** What a mode does for the sessions of one exchange. Chosen once, at start-up: sticky or non-sticky. */
export interface Keeper {
  /** The last part of the cookie; undefined where requests may go anywhere. */
  readonly route: string | undefined;
  /** A request begins to use a session, new or found. */
  enter(live: LiveSession): void;
  /**
   * Makes the session safe, at least up to `change`, as the mode promises.
   * @throws MsmError where it cannot
   */
  keep(live: LiveSession, change: number): Promise<CommitResult["outcome"]>;
  /** Ends a session on all nodes and in this process. @throws MsmError where no node took the end */
  destroy(live: LiveSession): Promise<void>;
  /** The session as it is now; undefined where there is none any more. @throws MsmError where that cannot be known */
  reload(live: LiveSession): Promise<LiveSession | undefined>;
  /** The request is done with a session that it entered. */
  leave(live: LiveSession): void;
}
