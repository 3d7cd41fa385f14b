import type { EventEmitter, Unsubscribe } from "../events.js";
import { newWriteId, nextVersion } from "../session/record.js";
import { identify } from "../session/session-id.js";
import { writeIdOf } from "../storage/record-prefix.js";
import { emptyRecord, type NoticeBoardParts, noticeKey } from "./notice-board.js";
import type { Ring } from "./ring.js";
import type { RingNode } from "./ring-node.js";

/** What it takes to notice that a node was emptied. */
export interface EmptiedNodesParts extends NoticeBoardParts {
  readonly ring: NoticeBoardParts["ring"] & Pick<Ring, "node">;
  readonly events: EventEmitter;
}

/** Together with a node's probe: as often as that. */
const lookEveryMs = 500;

/** Each look renews it, whichever process looks; where it ends all the same, a node is looked after in vain. */
const markLifeMs = 60 * 60 * 1000;

const identity = identify("mark");

/**
 * Notices that a node was emptied without a restart (FLUSHALL, `flush_all`): its connections do not tell. Each node has a
 * mark, put up by whichever process misses it first. Where that is gone, or another one, the node has lost
 * what it held, and its records are seen to as after a restart. Where the mark alone was lost, that is work in vain.
 */
export class EmptiedNodes {
  readonly #parts: EmptiedNodesParts;
  readonly #key: string;
  /** The mark that each node had at the last look, since it was up or restarted. */
  readonly #marks = new WeakMap<RingNode, string>();
  readonly #stops: readonly Unsubscribe[];
  #stopTimer: () => void = () => {};
  #isStopped = false;

  constructor(parts: EmptiedNodesParts) {
    const { events, ring, options } = parts;
    this.#parts = parts;
    this.#key = noticeKey(options.keyPrefix, identity);
    // What such a node has is seen to already.
    const forget = ({ node: id }: { readonly node: string }) => {
      const node = ring.node(id);
      if (node !== undefined) this.#marks.delete(node);
    };
    this.#stops = [events.on("nodeUp", forget), events.on("nodeReconnected", forget)];
    void this.#lookAndAgain();
  }

  stop(): void {
    this.#isStopped = true;
    this.#stopTimer();
    for (const stop of this.#stops) stop();
  }

  async #lookAndAgain(): Promise<void> {
    const nodes = this.#parts.ring.nodes.filter((node) => node.reachable);
    await Promise.all(nodes.map((node) => this.#look(node).catch(() => {}))); // its watch has noted it
    if (!this.#isStopped)
      this.#stopTimer = this.#parts.clock.after(lookEveryMs, () => void this.#lookAndAgain());
  }

  async #look(node: RingNode): Promise<void> {
    const loaded = await node.run((storage) => storage.load(this.#key, { renewTtlMs: markLifeMs }));
    if (this.#isStopped) return;
    const mark = loaded.kind === "found" ? writeIdOf(loaded.record) : undefined;
    const known = this.#marks.get(node);
    if (known !== undefined && mark !== known) {
      await node.answers(); // where it restarted, this tells of it
      if (this.#marks.get(node) === known) node.mayHaveLostRecords();
    }
    if (mark !== undefined) this.#marks.set(node, mark);
    else await this.#putUp(node);
  }

  /** Which of several marks the node takes shows at the next look. */
  async #putUp(node: RingNode): Promise<void> {
    const { ring, sealer } = this.#parts;
    const mark = sealer.seal(identity, {
      ...emptyRecord,
      version: nextVersion(undefined),
      writeId: newWriteId(),
      idleTimeoutMs: markLifeMs,
      ring: ring.fingerprint,
      table: new Map(),
    });
    await node.run((storage) => storage.save(this.#key, mark, markLifeMs, { expect: "absent" }));
  }
}
