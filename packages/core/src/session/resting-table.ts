import { type AttributeTable, packTable, unpackTable } from "./attribute-table.js";

/**
 * A table packed into one text, which takes a fraction of the memory, until somebody looks at it: for sessions that nobody
 * uses for a while.
 */
export class RestingTable implements AttributeTable {
  /** Latin-1: each character is a byte. Buffers of this size would take more for themselves than for what they hold. */
  #packed: string | undefined;
  #awake: AttributeTable | undefined;

  constructor(table: AttributeTable) {
    this.#packed = packTable(table).toString("latin1");
  }

  /** Whether somebody has looked at it, and it is no smaller than any other. */
  get isAwake(): boolean {
    return this.#awake !== undefined;
  }

  get size(): number {
    return this.#table.size;
  }

  get(name: string): Uint8Array | undefined {
    return this.#table.get(name);
  }

  has(name: string): boolean {
    return this.#table.has(name);
  }

  forEach(...args: Parameters<AttributeTable["forEach"]>): void {
    this.#table.forEach(...args);
  }

  entries(): ReturnType<AttributeTable["entries"]> {
    return this.#table.entries();
  }

  keys(): ReturnType<AttributeTable["keys"]> {
    return this.#table.keys();
  }

  values(): ReturnType<AttributeTable["values"]> {
    return this.#table.values();
  }

  [Symbol.iterator](): ReturnType<AttributeTable["entries"]> {
    return this.entries();
  }

  get #table(): AttributeTable {
    if (this.#awake === undefined) {
      this.#awake = unpackTable(Buffer.from(this.#packed ?? "", "latin1"));
      this.#packed = undefined;
    }
    return this.#awake;
  }
}
