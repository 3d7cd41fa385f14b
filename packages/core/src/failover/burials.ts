import { MsmError } from "../errors.js";
import type { RecordSealer, Successor } from "../session/record.js";
import type { SessionIdentity } from "../session/session-id.js";
import { isTombstone, writeIdOf } from "../storage/record-prefix.js";
import type { MissedRecords } from "./missed-records.js";
import { type Ended, endOf, type NodeReader } from "./node-reader.js";
import type { Ring } from "./ring.js";
import type { RingNode } from "./ring-node.js";

/** What ending a session needs. */
export interface BurialsParts {
  readonly ring: Ring;
  readonly sealer: RecordSealer;
  readonly reader: NodeReader;
  readonly missed: MissedRecords;
}

/** Ends sessions on all nodes. */
export class Burials {
  readonly #parts: BurialsParts;
  readonly #reader: NodeReader;

  constructor(parts: BurialsParts) {
    this.#parts = parts;
    this.#reader = parts.reader;
  }

  /**
   * Writes a tombstone to every node that answers, and keeps it for those that do not. It lives as long as any older
   * copy may.
   * @param successor where the session goes on under a new id
   * @returns how the session had ended before, where a node says that it had
   * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE where none answered
   */
  async bury(identity: SessionIdentity, successor?: Successor): Promise<Ended | undefined> {
    const ttlMs = this.#parts.ring.longestRecordLifeMs;
    const { ring } = this.#parts;
    const key = this.#reader.key(identity);
    const bytes = this.#parts.sealer.tombstone(identity, ttlMs, successor);
    const buried = await Promise.all(
      [...ring.nodes, ...ring.leaving].map(async (node) => {
        const end = await this.#buryOn(node, identity, bytes, ttlMs);
        // An older record that still waits for a node must not reach it later: it may have started empty by then.
        if (end === undefined) this.#parts.missed.keep(node, key, bytes, ttlMs);
        else this.#parts.missed.supersede(node, key, bytes);
        return end;
      }),
    );
    if (buried.every((end) => end === undefined)) {
      if (ring.isOff) return undefined; // it ended in this process, which is the only one to have it now
      throw new MsmError(
        "MSM_ERR_STORAGE_UNAVAILABLE",
        "no storage node took the end of the session; it is kept for them",
      );
    }
    return buried.find((end) => end !== undefined && end !== "taken") as Ended | undefined;
  }

  /**
   * Tried twice where the node is there: until it has the tombstone, other processes find the session on it.
   * @returns "taken"; or how the session had ended before; undefined where the node did not take it
   */
  async #buryOn(
    node: RingNode,
    identity: SessionIdentity,
    bytes: Uint8Array,
    ttlMs: number,
  ): Promise<"taken" | Ended | undefined> {
    const key = this.#reader.key(identity);
    for (let tries = 0; tries < 2 && node.takesRecords; tries++) {
      try {
        const isTaken = await node.run((storage) => storage.putIfNewer(key, bytes, ttlMs));
        return isTaken ? "taken" : await this.#endOn(node, identity, bytes);
      } catch (error) {
        if (error instanceof MsmError && error.code === "MSM_ERR_STORAGE_REFUSED")
          return this.#expireOn(node, key);
      }
    }
    return undefined;
  }

  /** The node has a tombstone already: ours, as we try again or it was written under the version check; or another's. */
  async #endOn(node: RingNode, identity: SessionIdentity, bytes: Uint8Array): Promise<"taken" | Ended> {
    const found = await this.#reader.inspect(identity, node);
    if (found === undefined || !isTombstone(found.bytes)) return "taken";
    return found.record.writeId === writeIdOf(bytes) ? "taken" : endOf(found.record);
  }

  /** A node whose memory is full takes no tombstone, but lets a record expire; the tombstones on others tell why. */
  async #expireOn(node: RingNode, key: string): Promise<undefined> {
    try {
      await node.run((storage) => storage.touch(key, 1));
    } catch {
      // It stays among the missed, as it does in any case.
    }
    return undefined;
  }
}
