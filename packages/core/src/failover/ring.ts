import { hash } from "node:crypto";
import type { Storage } from "../storage/storage.js";
import type { NodeHealth } from "./health.js";
import { type RecordLife, RingNode, type RingNodeParts } from "./ring-node.js";

/** A node that is ready to be watched. */
export interface RingMember {
  readonly id: string;
  readonly storage: Storage;
  readonly failoverOnly: boolean;
}

/** The configured nodes in their order, the same in all processes. */
export class Ring {
  readonly nodes: readonly RingNode[];
  /** 8 hexadecimal digits that are equal where two processes know the same ring. */
  readonly fingerprint: string;
  readonly #recordLife: RecordLife;

  constructor(members: readonly RingMember[], parts: RingNodeParts) {
    this.nodes = members.map(
      (member) => new RingNode(member, parts, () => this.nodes.some((node) => node.reachable)),
    );
    this.#recordLife = parts.recordLife;
    const order = members.map((member) => `${member.id}${member.failoverOnly ? "!" : ""}`).join(",");
    this.fingerprint = hash("sha256", order, "hex").slice(0, 8);
  }

  /** The longest that a record may live unused, in milliseconds. */
  get longestRecordLifeMs(): number {
    return this.#recordLife.longestMs;
  }

  /** Notes that there are records that live so long. */
  noteRecordLife(ms: number): void {
    if (ms > this.#recordLife.longestMs) this.#recordLife.longestMs = ms;
  }

  /** The node of that id, if the ring has it. */
  node(id: string): RingNode | undefined {
    return this.nodes.find((node) => node.id === id);
  }

  /**
   * All nodes in the order in which to look for a session: the hinted one, those that follow it, failover nodes last.
   * Depends on nothing but the hint and the ring, so that all processes agree.
   */
  candidates(hint: string): readonly RingNode[] {
    const [hinted, ...others] = this.#from(hint);
    return hinted === undefined ? [] : [hinted, ...ordinaryFirst(others)];
  }

  /**
   * The nodes that can be reached, in the order in which to write a session: as `candidates`, but a failover node
   * keeps a session no longer than it must.
   */
  targets(hint: string): readonly RingNode[] {
    return ordinaryFirst(this.#from(hint)).filter((node) => node.reachable);
  }

  /** The node for a new session: spread by its digest over the ordinary nodes that can be reached. */
  place(digest: string): RingNode {
    const ordinary = this.nodes.filter((node) => !node.failoverOnly);
    const reachable = ordinary.filter((node) => node.reachable);
    const choice = reachable.length > 0 ? reachable : this.nodes.filter((node) => node.reachable);
    const nodes = choice.length > 0 ? choice : ordinary;
    return nodes[Buffer.from(digest, "base64url").readUInt32BE(0) % nodes.length]!;
  }

  health(): readonly NodeHealth[] {
    return this.nodes.map((node) => node.health);
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.nodes.map((node) => node.close()));
  }

  #from(hint: string): readonly RingNode[] {
    const start = Math.max(
      0,
      this.nodes.findIndex((node) => node.id === hint),
    );
    return [...this.nodes.slice(start), ...this.nodes.slice(0, start)];
  }
}

const ordinaryFirst = (nodes: readonly RingNode[]): readonly RingNode[] => [
  ...nodes.filter((node) => !node.failoverOnly),
  ...nodes.filter((node) => node.failoverOnly),
];
