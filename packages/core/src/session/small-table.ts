import type { AttributeTable } from "./attribute-table.js";
import { bytesIn } from "./utf8.js";

/** So many names are looked through; for more there is an index. */
const mostWithoutIndex = 8;

/** Names of attributes, in their order. */
class Names {
  readonly list: string[];
  /** Together, in UTF-8. Looked up at each save, so not counted anew. */
  bytes: number;
  #places: Map<string, number> | undefined;

  constructor(list: string[]) {
    this.list = list;
    this.bytes = list.reduce((sum, name) => sum + bytesIn(name), 0);
    if (list.length > mostWithoutIndex) this.#makeIndex();
  }

  /** -1 where it is none of them. */
  placeOf(name: string): number {
    return this.#places === undefined ? this.list.indexOf(name) : (this.#places.get(name) ?? -1);
  }

  add(name: string): void {
    this.list.push(name);
    this.bytes += bytesIn(name);
    if (this.#places !== undefined) this.#places.set(name, this.list.length - 1);
    else if (this.list.length > mostWithoutIndex) this.#makeIndex();
  }

  #makeIndex(): void {
    this.#places = new Map(this.list.map((name, place) => [name, place]));
  }
}

/**
 * A table whose versions share their names: most changes give another value to an attribute that was there, and cost no more
 * than a list of the values. It may be changed until it is anybody's table.
 */
export class SmallTable implements AttributeTable {
  #names: Names;
  /** Whether no other table has these names. */
  #ownsNames: boolean;
  readonly #values: Uint8Array[];

  private constructor(names: Names, ownsNames: boolean, values: Uint8Array[]) {
    this.#names = names;
    this.#ownsNames = ownsNames;
    this.#values = values;
  }

  /** Of names that all differ, and a value for each. */
  static from(names: string[], values: Uint8Array[]): SmallTable {
    return new SmallTable(new Names(names), true, values);
  }

  /** A table with the same attributes as another, to be changed. */
  static of(table: AttributeTable): SmallTable {
    if (!(table instanceof SmallTable)) return SmallTable.from([...table.keys()], [...table.values()]);
    table.#ownsNames = false;
    return new SmallTable(table.#names, false, table.#values.slice());
  }

  get size(): number {
    return this.#values.length;
  }

  /** How many bytes the names take together, in UTF-8. */
  get bytesInNames(): number {
    return this.#names.bytes;
  }

  get bytesInValues(): number {
    let bytes = 0;
    for (const value of this.#values) bytes += value.length;
    return bytes;
  }

  get(name: string): Uint8Array | undefined {
    const place = this.#names.placeOf(name);
    return place === -1 ? undefined : this.#values[place];
  }

  has(name: string): boolean {
    return this.#names.placeOf(name) !== -1;
  }

  set(name: string, value: Uint8Array): this {
    const place = this.#names.placeOf(name);
    if (place !== -1) {
      this.#values[place] = value;
      return this;
    }
    this.#ownNames();
    this.#names.add(name);
    this.#values.push(value);
    return this;
  }

  /** @returns whether it was there */
  delete(name: string): boolean {
    const place = this.#names.placeOf(name);
    if (place === -1) return false;
    this.#names = new Names(this.#names.list.toSpliced(place, 1));
    this.#ownsNames = true;
    this.#values.splice(place, 1);
    return true;
  }

  forEach(run: (value: Uint8Array, name: string, table: AttributeTable) => void): void {
    const { list } = this.#names;
    for (let place = 0; place < list.length; place++) run(this.#values[place]!, list[place]!, this);
  }

  entries(): MapIterator<[string, Uint8Array]> {
    return this.#names.list.map((name, place): [string, Uint8Array] => [name, this.#values[place]!]).values();
  }

  keys(): MapIterator<string> {
    return this.#names.list.values();
  }

  values(): MapIterator<Uint8Array> {
    return this.#values.values();
  }

  [Symbol.iterator](): MapIterator<[string, Uint8Array]> {
    return this.entries();
  }

  #ownNames(): void {
    if (this.#ownsNames) return;
    this.#names = new Names([...this.#names.list]);
    this.#ownsNames = true;
  }
}
