import type { Unsubscribe } from "../events.js";
import { NoticeBoard } from "../failover/notice-board.js";
import type { Parts } from "../parts.js";
import type { SessionIdentity } from "../session/session-id.js";

/** What was told a short while ago. */
interface Told {
  readonly route: string;
  readonly identity: SessionIdentity;
  /** Monotonic milliseconds. */
  readonly toldMs: number;
  /** Ids of the nodes that were there then and have been since: they have the notice. */
  readonly on: Set<string>;
}

/** By then whoever is told has read it on a node that has it. */
const readWithinMs = 10_000;
const mostTold = 10_000;

/**
 * Tells the process that owned a sticky session that another took it over, changed or ended it. Its copy in memory would
 * else be served, to a cookie from before, until half of the idle timeout has passed. Where all nodes that have a notice are
 * lost before it was read, it is told again.
 */
export class Handovers {
  readonly #parts: Parts;
  readonly #mine: NoticeBoard;
  /** Where to tell the process of each route. Routes come from records that were sealed, so there are few. */
  readonly #others = new Map<string, NoticeBoard>();
  /** By route and digest, oldest first. */
  readonly #told = new Map<string, Told>();
  readonly #stops: readonly Unsubscribe[];

  /**
   * @param onTold called with the digests of sessions that others tell of; with "all" where it may be any
   */
  constructor(route: string, parts: Parts, onTold: (digests: ReadonlySet<string> | "all") => void) {
    this.#parts = parts;
    this.#mine = new NoticeBoard(boardOf(route), parts, (digests) =>
      onTold(digests === "missed" ? "all" : new Set(digests)),
    );
    void this.#mine.start();
    const { events } = parts;
    this.#stops = [
      events.on("nodeDown", ({ node }) => this.#noteLost(node)),
      events.on("nodeReconnected", ({ node }) => {
        this.#noteLost(node);
        this.#tellAgain();
      }),
      events.on("nodeUp", () => this.#tellAgain()),
    ];
  }

  /** Tells the process of that route, in the background, that what it may have of a session is out of date. */
  tell(route: string, identity: SessionIdentity): void {
    const { digest } = identity;
    this.#remember(route, identity);
    const board = this.#others.get(route) ?? new NoticeBoard(boardOf(route), this.#parts, () => {});
    this.#others.set(route, board);
    board.post(digest);
  }

  stop(): void {
    for (const stop of this.#stops) stop();
    for (const board of [this.#mine, ...this.#others.values()]) board.stop();
  }

  #remember(route: string, identity: SessionIdentity): void {
    this.#forgetRead();
    const key = `${route} ${identity.digest}`;
    const { clock, ring } = this.#parts;
    const on = ring.nodes.filter(({ reachable }) => reachable).map(({ id }) => id);
    this.#told.delete(key); // the newest is the last
    this.#told.set(key, { route, identity, toldMs: clock.monotonicMs(), on: new Set(on) });
  }

  #forgetRead(): void {
    const sinceMs = this.#parts.clock.monotonicMs() - readWithinMs;
    for (const [key, { toldMs, on }] of this.#told) {
      const isRead = toldMs < sinceMs && on.size > 0;
      if (isRead || this.#told.size >= mostTold) this.#told.delete(key);
      else if (toldMs >= sinceMs) return;
    }
  }

  #noteLost(node: string): void {
    this.#forgetRead();
    for (const { on } of this.#told.values()) on.delete(node);
  }

  #tellAgain(): void {
    for (const { route, identity, on } of [...this.#told.values()])
      if (on.size === 0) this.tell(route, identity);
  }
}

const boardOf = (route: string) => `handovers ${route}`;
