import { type AttributeTable, packTable, unpackTable } from "./attribute-table.js";

/**
 * A table packed into one text, which takes a fraction of the memory, until somebody looks at it: for sessions that nobody
 * uses for a while.
 */
export class RestingTable implements AttributeTable {
  /** As Latin-1, where each character is a byte: buffers of this size would take more for themselves than for what they hold. */
  #content: string | AttributeTable;

  constructor(table: AttributeTable) {
    this.#content = packTable(table).toString("latin1");
  }

  /** Whether somebody has looked at it, and it is no smaller than any other. */
  get isAwake(): boolean {
    return typeof this.#content !== "string";
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
    if (typeof this.#content === "string") this.#content = unpackTable(Buffer.from(this.#content, "latin1"));
    return this.#content;
  }
}
