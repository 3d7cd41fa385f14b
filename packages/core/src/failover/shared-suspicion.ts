import { type NewNotices, NoticeBoard, type NoticeBoardParts } from "./notice-board.js";
import type { Ring } from "./ring.js";
import type { RingNode } from "./ring-node.js";

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

  /** Tells the others, in the background, that this node lacks something which it may not get if this process dies. */
  tell({ id }: RingNode): void {
    const { clock, ring } = this.#parts;
    const toldMs = this.#toldMs.get(id);
    // Told again before the notice ends, for as long as there is reason to.
    if (toldMs !== undefined && clock.monotonicMs() - toldMs < ring.longestRecordLifeMs / 4) return;
    this.#toldMs.set(id, clock.monotonicMs());
    this.#board.post(id);
  }

  stop(): void {
    this.#board.stop();
  }

  #suspect(notices: NewNotices): void {
    for (const node of this.#parts.ring.nodes) {
      if (notices === "missed" || notices.includes(node.id)) node.suspect();
    }
  }
}
