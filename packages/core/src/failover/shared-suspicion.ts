import { type NewNotices, NoticeBoard, type NoticeBoardParts } from "./notice-board.js";
import type { Ring } from "./ring.js";
import type { RingNode } from "./ring-node.js";

/** While a node misses one record after the other, others are told of it as often as they read what they are told. */
const toldEveryMs = 500;

/**
 * Lets all processes know that a node lacks what one of them keeps for it. To those that did not see the node fail, or
 * start while it is away, it would else be as good as any: with a record from before a log-out, or an older one. They
 * compare what it has with the other nodes from then on.
 */
export class SharedSuspicion {
  readonly #board: NoticeBoard;
  readonly #parts: NoticeBoardParts & { readonly ring: Ring };
  /** When others were last told of a node; monotonic milliseconds. */
  readonly #toldMs = new Map<string, number>();
  /** Nodes that others are about to be told of again, with what calls that off. */
  readonly #coming = new Map<string, () => void>();
  #starting: Promise<void> | undefined;

  constructor(parts: NoticeBoardParts & { readonly ring: Ring }) {
    this.#parts = parts;
    this.#board = new NoticeBoard("suspects", parts, (notices) => this.#suspect(notices));
    this.#starting = this.#board.start().finally(() => {
      this.#starting = undefined;
    });
  }

  /** Resolves when what others know has been asked for at the start; undefined from then on: no request waits for it. */
  get starting(): Promise<void> | undefined {
    return this.#starting;
  }

  /**
   * Tells the others, in the background, that this node lacks something which it may not get if this process dies. To be
   * called for each record: who was told before has compared some sessions since, and trusts the node with those.
   */
  tell({ id }: RingNode): void {
    if (this.#coming.has(id)) return;
    const { clock } = this.#parts;
    const toldMs = this.#toldMs.get(id) ?? Number.NEGATIVE_INFINITY;
    const waitMs = toldMs + toldEveryMs - clock.monotonicMs();
    if (waitMs <= 0) this.#post(id);
    else
      this.#coming.set(
        id,
        clock.after(waitMs, () => this.#post(id)),
      );
  }

  stop(): void {
    for (const callOff of this.#coming.values()) callOff();
    this.#coming.clear();
    this.#board.stop();
  }

  #post(id: string): void {
    this.#coming.delete(id);
    this.#toldMs.set(id, this.#parts.clock.monotonicMs());
    this.#board.post(id);
  }

  #suspect(notices: NewNotices): void {
    for (const node of this.#parts.ring.nodes) {
      if (notices === "missed" || notices.includes(node.id)) node.suspect();
    }
  }
}
