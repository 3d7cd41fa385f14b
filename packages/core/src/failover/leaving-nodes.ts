import type { Storage } from "../storage/storage.js";
import type { RingPlace } from "./ring.js";
import type { RingNode, RingNodeParts } from "./ring-node.js";

interface Leaving {
  readonly place: RingPlace;
  readonly leftMs: number;
  readonly close: () => void;
}

const lookEveryMs = 1000;

/** A node that was out of reach for so long was not taken out in order to be read once more. */
const longestSilenceMs = 60_000;

/**
 * Nodes that were taken out of the ring. Sessions that only they have can still be read, and move to a member with their
 * next use. That ends when no record that was written there can be alive any more, or when the node does not answer.
 */
export class LeavingNodes {
  readonly #parts: RingNodeParts;
  #leaving: readonly Leaving[] = [];
  #nodes: readonly RingNode[] = [];
  #callOff: () => void = () => {};

  constructor(parts: RingNodeParts) {
    this.#parts = parts;
  }

  get nodes(): readonly RingNode[] {
    return this.#nodes;
  }

  /** The node of that id and address, where it is among them. */
  find(id: string, address: string | Storage): RingPlace | undefined {
    const places = this.#leaving.map(({ place }) => place);
    return places.find(({ member }) => member.id === id && member.address === address);
  }

  /** @param close called when nothing can be expected of the node any more */
  add(place: RingPlace, close: () => void): void {
    place.node.leave();
    const leftMs = this.#parts.clock.monotonicMs();
    this.#keep([...this.#leaving, { place, leftMs, close }]);
  }

  /** The node is a member again. */
  remove(node: RingNode): void {
    if (this.#nodes.includes(node)) this.#keep(this.#leaving.filter(({ place }) => place.node !== node));
  }

  /** @returns all nodes, which are then no concern of this one any more */
  takeAll(): readonly RingNode[] {
    const nodes = this.#nodes;
    this.#keep([]);
    return nodes;
  }

  #keep(leaving: readonly Leaving[]): void {
    this.#leaving = leaving;
    this.#nodes = leaving.map(({ place }) => place.node);
    this.#callOff();
    if (leaving.length > 0) this.#callOff = this.#parts.clock.after(lookEveryMs, () => this.#look());
  }

  #look(): void {
    const reasons = this.#leaving.map((each) => [each, this.#reasonToEnd(each)] as const);
    this.#keep(reasons.filter(([, reason]) => reason === undefined).map(([each]) => each));
    for (const [{ place, close }, reason] of reasons) {
      if (reason === undefined) continue;
      close();
      this.#parts.events.emit("nodeLeft", { node: place.node.id, reason });
    }
  }

  #reasonToEnd({ place, leftMs }: Leaving): "expired" | "silent" | undefined {
    const forMs = this.#parts.clock.monotonicMs() - leftMs;
    if (forMs >= this.#parts.recordLife.longestMs) return "expired";
    return place.node.downMs >= longestSilenceMs ? "silent" : undefined;
  }
}
