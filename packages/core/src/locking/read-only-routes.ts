import type { Clock } from "../clock.js";

export interface ReadOnlyRoutesOptions {
  /** So many requests of a route must have changed nothing, one after the other, until the route counts as reading. */
  readonly threshold: number;
  /** How long what was learned of a route holds, from its first request on. Then it is learned anew. */
  readonly ttlMs: number;
  /** Routes that are remembered; the one that was not seen for longest goes first. */
  readonly mostRoutes: number;
}

/** A route is learned quickly, and an application that is deployed anew has forgotten it after ten minutes. */
const defaultReadOnlyRoutes: ReadOnlyRoutesOptions = {
  threshold: 3,
  ttlMs: 600_000,
  mostRoutes: 1000,
};

interface Route {
  /** Requests that changed nothing; -1 from the first change on. */
  reads: number;
  readonly sinceMs: number;
}

/**
 * Learns which routes only read the session. A route that changed it once counts as changing until that is forgotten: a
 * wrong guess is never wrong about the data, but may cost a request its success.
 */
export class ReadOnlyRoutes {
  readonly #clock: Clock;
  readonly #options: ReadOnlyRoutesOptions;
  readonly #routes = new Map<string, Route>();

  constructor(clock: Clock, options: ReadOnlyRoutesOptions = defaultReadOnlyRoutes) {
    this.#clock = clock;
    this.#options = options;
  }

  /** How many routes are remembered. */
  get size(): number {
    return this.#routes.size;
  }

  /** Whether all that is known of the route says that it only reads. */
  onlyReads(route: string): boolean {
    return (this.#known(route)?.reads ?? 0) >= this.#options.threshold;
  }

  /** Notes what a request of the route did. */
  note(route: string, hasChanged: boolean): void {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#known(route);
    this.#routes.delete(route);
    const reads = hasChanged || known?.reads === -1 ? -1 : (known?.reads ?? 0) + 1;
    // The time of a change counts from the last one, so that a route that changes is not tried again while it does.
    this.#routes.set(route, { reads, sinceMs: hasChanged ? nowMs : (known?.sinceMs ?? nowMs) });
    if (this.#routes.size <= this.#options.mostRoutes) return;
    const [oldest] = this.#routes.keys();
    if (oldest !== undefined) this.#routes.delete(oldest);
  }

  #known(route: string): Route | undefined {
    const known = this.#routes.get(route);
    if (known === undefined || this.#clock.monotonicMs() - known.sinceMs < this.#options.ttlMs) return known;
    this.#routes.delete(route);
    return undefined;
  }
}
