/** Where an application process listens, and the route it is known by. */
export interface AppAddress {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/** What the balancer noticed. `app` and the like are names. */
export type BalancerEvent =
  | { readonly kind: "appUp"; readonly app: string }
  | { readonly kind: "appDown"; readonly app: string; readonly why: string }
  /** The session's process could not be reached, so another one served. */
  | { readonly kind: "failedOver"; readonly session: string; readonly from: string; readonly to: string }
  /** A request may have been carried out, but its answer never came. It was not sent again. */
  | { readonly kind: "unanswered"; readonly app: string; readonly method: string; readonly path: string };

interface Member {
  readonly address: AppAddress;
  isUp: boolean;
}

/** Who is there, and in which order to ask. */
export class AppPool {
  readonly #members: readonly Member[];
  readonly #emit: (event: BalancerEvent) => void;
  readonly #silenceListeners = new Map<string, Set<() => void>>();
  #next = 0;

  constructor(apps: readonly AppAddress[], emit: (event: BalancerEvent) => void) {
    // Down until the first health check went well: what is not known to work is asked last.
    this.#members = apps.map((address) => ({ address, isUp: false }));
    this.#emit = emit;
  }

  /**
   * All processes, the best one first: from the one that the route names, else from the next one in turn; those that
   * are down come last, as they may be back. From a route the order is always the same: requests of one session that
   * fail over at the same time meet in one process.
   */
  inOrder(route?: string): AppAddress[] {
    const routed = this.#members.findIndex((member) => member.address.name === route);
    const first = routed >= 0 ? routed : this.#next++ % this.#members.length;
    const ring = [...this.#members.slice(first), ...this.#members.slice(0, first)];
    return [...ring.filter((member) => member.isUp), ...ring.filter((member) => !member.isUp)].map(
      (member) => member.address,
    );
  }

  isUp(name: string): boolean {
    return this.#find(name)?.isUp ?? false;
  }

  markUp(name: string): void {
    const member = this.#find(name);
    if (!member || member.isUp) return;
    member.isUp = true;
    this.#emit({ kind: "appUp", app: name });
  }

  /** The process is passed over until it is well again. Requests that it has begun may still end well. */
  markDown(name: string, why: string): void {
    const member = this.#find(name);
    if (!member?.isUp) return;
    member.isUp = false;
    this.#emit({ kind: "appDown", app: name, why });
  }

  /** The process runs, it seems, and answers nobody: requests that it has begun are given up as well. */
  markSilent(name: string, why: string): void {
    this.markDown(name, why);
    for (const listener of this.#silenceListeners.get(name) ?? []) listener();
  }

  /** Calls `listener` when the process falls silent. @returns what ends that */
  onSilent(name: string, listener: () => void): () => void {
    const listeners = this.#silenceListeners.get(name) ?? new Set();
    this.#silenceListeners.set(name, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  #find(name: string): Member | undefined {
    return this.#members.find((member) => member.address.name === name);
  }
}
