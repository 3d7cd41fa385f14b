import { hash } from "node:crypto";
import { MsmError } from "../errors.js";
import type { Storage } from "../storage/storage.js";
import type { NodeCondition } from "./health.js";
import { LeavingNodes } from "./leaving-nodes.js";
import { type RecordLife, RingNode, type RingNodeParts } from "./ring-node.js";

/** A node as configured. */
export interface RingMember {
  readonly id: string;
  readonly failoverOnly: boolean;
  /** How it is reached, or the storage itself: a node of the same id and address is the same node. */
  readonly address: string | Storage;
  /** Names the kind of its storage without making one. */
  readonly kind: string;
  /** What else its storage is made with: where that changes, it is made anew, and the node stays what it is. */
  readonly settings: string;
  /** Makes its storage. */
  connect(): Storage;
}

/** What the ring may become: the nodes that are new have been connected to. */
export interface RingPlan {
  readonly places: readonly RingPlace[];
  readonly isOff: boolean;
}

/** A node in the ring, and how it was configured. */
export interface RingPlace {
  readonly member: RingMember;
  readonly node: RingNode;
  readonly isNew: boolean;
  /** What a node that is known goes on with, in place of the storage that it has. */
  readonly storage?: Storage;
}

/** What a change of the ring came to, by the nodes' ids. */
export interface RingChange {
  readonly joined: readonly string[];
  readonly left: readonly string[];
}

/**
 * The configured nodes in their order, the same in all processes. They can be changed while sessions are served: nodes
 * that were taken out are leaving, see `LeavingNodes`.
 */
export class Ring {
  readonly #parts: RingNodeParts;
  readonly #leaving: LeavingNodes;
  #places: readonly RingPlace[];
  #nodes: readonly RingNode[] = [];
  #isOff: boolean;
  #fingerprint: string;
  readonly #fingerprints = new Set<string>();
  /** By the hint, as long as the ring stays as it is. */
  readonly #writeOrders = new Map<string, readonly RingNode[]>();
  /** Nodes that answer what they were asked, and close then. */
  readonly #retiring = new Set<RingNode>();

  /** @param isOff whether nothing is stored at present: no connection is made, and no node is asked for anything */
  constructor(members: readonly RingMember[], parts: RingNodeParts, isOff = false) {
    this.#parts = parts;
    this.#leaving = new LeavingNodes(parts);
    this.#isOff = isOff;
    this.#places = members.map((member) => {
      const node = this.#create(member, isOff ? "never" : "early");
      return { member, node, isNew: true };
    });
    this.#nodes = this.#places.map(({ node }) => node);
    this.#fingerprint = this.#noteFingerprint();
  }

  /** The members in ring order. */
  get nodes(): readonly RingNode[] {
    return this.#nodes;
  }

  /** Those that were members, and may still have what no member has. */
  get leaving(): readonly RingNode[] {
    return this.#leaving.nodes;
  }

  /** True while nothing is stored: sessions live in this process alone. */
  get isOff(): boolean {
    return this.#isOff;
  }

  /** 8 hexadecimal digits that are equal where two processes know the same ring. */
  get fingerprint(): string {
    return this.#fingerprint;
  }

  /** True where this fingerprint is, or was, that of this ring. */
  knows(fingerprint: string): boolean {
    return this.#fingerprints.has(fingerprint);
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
    return this.#nodes.find((node) => node.id === id);
  }

  /**
   * All nodes in the order in which to look for a session: the hinted one, those that follow it, failover nodes last.
   * Depends on nothing but the hint and the ring, so that all processes agree.
   */
  candidates(hint: string): readonly RingNode[] {
    const [hinted, ...others] = this.#from(hint);
    return hinted === undefined ? [] : [hinted, ...ordinaryFirst(others)];
  }

  /** As `candidates`, with those behind them that are leaving. */
  holders(hint: string): readonly RingNode[] {
    return [...this.candidates(hint), ...this.leaving];
  }

  /**
   * The nodes that can be reached, in the order in which to write a session: as `candidates`, but a failover node
   * keeps a session no longer than it must.
   */
  targets(hint: string): readonly RingNode[] {
    const order = this.#writeOrder(hint);
    return order.every(isReachable) ? order : order.filter(isReachable);
  }

  /** As `targets`, with those that cannot be reached. */
  #writeOrder(hint: string): readonly RingNode[] {
    const known = this.#writeOrders.get(hint);
    if (known !== undefined) return known;
    const order = ordinaryFirst(this.#from(hint));
    // Hints come from cookies, and so from this application's processes; those of another ring lead nowhere here.
    if (this.node(hint) !== undefined) this.#writeOrders.set(hint, order);
    return order;
  }

  /** The node for a new session: spread by its digest over the ordinary nodes that can be reached. */
  place(digest: string): RingNode {
    const nodes = this.#nodes.every(isUsual) ? this.#nodes : this.#placesInTrouble();
    return nodes.length === 1
      ? nodes[0]!
      : nodes[Buffer.from(digest, "base64url").readUInt32BE(0) % nodes.length]!;
  }

  /** Where new sessions may go while not all nodes are ordinary ones that can be reached. */
  #placesInTrouble(): readonly RingNode[] {
    const ordinary = this.#nodes.filter((node) => !node.failoverOnly);
    const reachable = ordinary.filter(isReachable);
    const choice = reachable.length > 0 ? reachable : this.#nodes.filter(isReachable);
    return choice.length > 0 ? choice : ordinary;
  }

  /** What the nodes know of themselves: the members in ring order, then those that are leaving. */
  health(): readonly { readonly node: RingNode; readonly condition: NodeCondition }[] {
    return [...this.#nodes, ...this.leaving].map((node) => ({ node, condition: node.health }));
  }

  /**
   * Connects to the members that are new, and finds out whether they can be reached: one that cannot be is taken in as a
   * node that is down.
   * @throws MsmError MSM_ERR_OPTION where a node cannot be connected to at all; nothing is then left behind
   */
  async plan(members: readonly RingMember[], isOff: boolean): Promise<RingPlan> {
    const places: RingPlace[] = [];
    try {
      for (const member of members) places.push(this.#placeFor(member, isOff));
    } catch (error) {
      this.drop({ places });
      throw MsmError.from(error, "MSM_ERR_OPTION");
    }
    await Promise.all(places.map(({ node, isNew }) => (isNew && !isOff ? node.getReady() : undefined)));
    return { places, isOff };
  }

  /** Closes what a plan has opened, which comes to nothing. */
  drop({ places }: Pick<RingPlan, "places">): void {
    for (const { member, node, isNew, storage } of places) {
      if (isNew) this.#retire(node, isOwn(member));
      void storage?.close();
    }
  }

  /** Goes over to a plan, at once. @returns which nodes are new, and which are no members any more */
  change({ places, isOff }: RingPlan): RingChange {
    const former = this.#places;
    const isSwitched = isOff !== this.#isOff;
    this.#places = places;
    this.#nodes = places.map(({ node }) => node);
    this.#isOff = isOff;
    this.#fingerprint = this.#noteFingerprint();
    for (const { member, node, storage } of places) {
      node.failoverOnly = member.failoverOnly;
      this.#leaving.remove(node);
      node.rejoin();
      if (storage !== undefined) node.goOnWith(storage);
    }
    this.#writeOrders.clear();
    for (const place of former) {
      if (this.#nodes.includes(place.node)) continue;
      // Nothing is read from a node while nothing is stored, and there is nothing on one that was off.
      if (isSwitched) this.#retire(place.node, isOwn(place.member));
      else this.#leaving.add(place, () => this.#closeUnused(place));
    }
    if (isOff) for (const node of this.#leaving.takeAll()) this.#retire(node, true);
    return {
      joined: namesOnlyIn(places, former),
      left: namesOnlyIn(former, places),
    };
  }

  async close(): Promise<void> {
    const nodes = [...this.#nodes, ...this.#leaving.takeAll(), ...this.#retiring];
    const given = this.#places.map(({ member }) => member.address).filter((each) => typeof each === "object");
    await Promise.allSettled([...nodes, ...given].map((each) => each.close()));
  }

  get #recordLife(): RecordLife {
    return this.#parts.recordLife;
  }

  #placeFor(member: RingMember, isOff: boolean): RingPlace {
    const known = this.#knownPlace(member, isOff);
    if (known === undefined)
      return { member, node: this.#create(member, isOff ? "never" : "late"), isNew: true };
    const { node } = known;
    const isMadeAnew = !isOff && isOwn(member) && member.settings !== known.member.settings;
    return { member, node, isNew: false, ...(isMadeAnew && { storage: member.connect() }) };
  }

  /** The node that this one is already, or was and may still be. One that is off is never one that is not. */
  #knownPlace({ id, address }: RingMember, isOff: boolean): RingPlace | undefined {
    if (isOff !== this.#isOff) return undefined;
    const place = this.#places.find(({ member }) => member.id === id && member.address === address);
    return place ?? this.#leaving.find(id, address);
  }

  #create(member: RingMember, joins: "early" | "late" | "never"): RingNode {
    const storage = joins === "never" ? noStorage(member.kind) : member.connect();
    const { id, failoverOnly } = member;
    const created: RingNode = new RingNode({ id, failoverOnly, storage, joins }, this.#parts, () =>
      this.#nodes.filter((node) => node !== created),
    );
    return created;
  }

  /** Closes a node that has left, unless its storage, which somebody gave us, is that of a member as well. */
  #closeUnused({ member, node }: RingPlace): void {
    this.#retire(
      node,
      this.#places.every((other) => other.member.address !== member.address),
    );
  }

  #retire(node: RingNode, closes: boolean): void {
    this.#retiring.add(node);
    void node.retire({ closes }).finally(() => this.#retiring.delete(node));
  }

  #noteFingerprint(): string {
    const order = this.#nodes.map((node) => `${node.id}${node.failoverOnly ? "!" : ""}`).join(",");
    const fingerprint = hash("sha256", order, "hex").slice(0, 8);
    this.#fingerprints.add(fingerprint);
    return fingerprint;
  }

  #from(hint: string): readonly RingNode[] {
    const start = Math.max(
      0,
      this.#nodes.findIndex((node) => node.id === hint),
    );
    return [...this.#nodes.slice(start), ...this.#nodes.slice(0, start)];
  }
}

const isReachable = (node: RingNode) => node.reachable;
const isUsual = (node: RingNode) => node.reachable && !node.failoverOnly;

/** Whether the storage is one that we made, and not one that somebody gave us. */
const isOwn = ({ address }: RingMember) => typeof address === "string";

const ordinaryFirst = (nodes: readonly RingNode[]): readonly RingNode[] => [
  ...nodes.filter((node) => !node.failoverOnly),
  ...nodes.filter((node) => node.failoverOnly),
];

/** Ids of the nodes that one ring has and the other has not, or has at another address. */
const namesOnlyIn = (ring: readonly RingPlace[], other: readonly RingPlace[]): readonly string[] =>
  ring
    .map(({ member }) => member)
    .filter(({ id, address }) => !other.some(({ member }) => member.id === id && member.address === address))
    .map(({ id }) => id);

/** Stands for a node while nothing is stored. */
function noStorage(kind: string): Storage {
  const refuse = () =>
    Promise.reject(new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "nothing is stored: enabled is false"));
  return {
    kind,
    load: refuse,
    save: refuse,
    putIfNewer: refuse,
    touch: refuse,
    renewLease: refuse,
    unlock: refuse,
    ping: refuse,
    close: async () => {},
  };
}
