import { NoticeBoard } from "../failover/notice-board.js";
import type { Parts } from "../parts.js";
import type { SessionIdentity } from "../session/session-id.js";

/**
 * Tells the process that owned a sticky session that another took it over, changed or ended it. Its copy in memory would
 * else be served, to a cookie from before, until half of the idle timeout has passed.
 */
export class Handovers {
  readonly #parts: Parts;
  readonly #mine: NoticeBoard;
  /** Where to tell the process of each route. Routes come from records that were sealed, so there are few. */
  readonly #others = new Map<string, NoticeBoard>();

  /**
   * @param onTold called with the digests of sessions that others tell of; with "all" where it may be any
   */
  constructor(route: string, parts: Parts, onTold: (digests: ReadonlySet<string> | "all") => void) {
    this.#parts = parts;
    this.#mine = new NoticeBoard(boardOf(route), parts, (digests) =>
      onTold(digests === "missed" ? "all" : new Set(digests)),
    );
    void this.#mine.start();
  }

  /** Tells the process of that route, in the background, that what it may have of a session is out of date. */
  tell(route: string, { digest }: SessionIdentity): void {
    const board = this.#others.get(route) ?? new NoticeBoard(boardOf(route), this.#parts, () => {});
    this.#others.set(route, board);
    board.post(digest);
  }

  stop(): void {
    for (const board of [this.#mine, ...this.#others.values()]) board.stop();
  }
}

const boardOf = (route: string) => `handovers ${route}`;
