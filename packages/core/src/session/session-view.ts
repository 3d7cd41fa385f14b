import { inspect } from "node:util";
import { MsmError } from "../errors.js";
import { type AttributeTable, checkAttributeName } from "./attribute-table.js";
import type { LiveSession } from "./live-session.js";
import type { Attributes } from "./session.js";

/**
 * One request's look at a live session. It marks what the request touched, so that a commit encodes that and no more:
 * names that were assigned or deleted, and names whose value is an object, as that may be changed in place.
 */
export class SessionView {
  readonly live: LiveSession;
  /** Marked names, each with the object that was handed out or assigned; undefined where it was none. */
  readonly #marked = new Map<string, object | undefined>();
  /** Attributes that this request set in vain: a fold of them failed, and they were neither set anew nor deleted. */
  readonly #lost = new Map<string, MsmError>();

  constructor(live: LiveSession) {
    this.live = live;
  }

  read(name: string): unknown {
    const value = this.live.handOut(name);
    if (typeof value === "object" && value !== null && !this.#marked.has(name)) this.#marked.set(name, value);
    return value;
  }

  assign(name: string, value: unknown): void {
    this.#lost.delete(name);
    this.live.assign(name, value);
    this.#marked.set(name, typeof value === "object" && value !== null ? value : undefined);
  }

  remove(name: string): void {
    this.#lost.delete(name);
    if (this.live.has(name)) this.assign(name, undefined);
  }

  /** Takes back what this request assigned or changed and did not commit. */
  revert(): void {
    this.live.revert(this.#marked.keys());
    this.#marked.clear();
    this.#lost.clear();
  }

  /**
   * The table as it would be with what this request changed; the session stays as it is.
   * @throws MsmError MSM_ERR_CODEC
   */
  preview(): AttributeTable {
    const table = new Map(this.live.table);
    for (const name of this.#marked.keys()) {
      const bytes = this.live.encoded(name);
      if (bytes === undefined) table.delete(name);
      else table.set(name, bytes);
    }
    return table;
  }

  /**
   * Folds what this request changed into the live session.
   * @returns number of the change that must be saved before the request may be answered; 0 where it changed nothing
   * @throws MsmError MSM_ERR_CODEC, MSM_ERR_RECORD_TOO_LARGE, MSM_ERR_CONFLICT; again at each later call, until the
   *   handler has set the attributes anew, deleted them, or taken back what it did
   */
  fold(): number {
    for (const error of this.#lost.values()) throw error;
    if (this.#marked.size === 0) return 0;
    for (const [name, object] of this.#marked) if (object !== undefined) this.live.bringBack(name, object);
    const change = this.#foldMarked();
    // An object that was handed out may still be changed after this commit; a primitive value can not.
    for (const [name, object] of this.#marked) if (object === undefined) this.#marked.delete(name);
    return change;
  }

  #foldMarked(): number {
    const lost: string[] = [];
    try {
      return this.live.fold(this.#marked.keys(), (name) => lost.push(name));
    } catch (thrown) {
      const error = MsmError.from(thrown, "MSM_ERR_CODEC");
      for (const name of lost) {
        this.#marked.delete(name);
        this.#lost.set(name, error);
      }
      throw error;
    }
  }
}

/**
 * The view as an object: names that `members` has are its own, all others are attributes. Enumerating gives the
 * members' own enumerable names, then the attributes.
 */
export function viewAsObject<T extends object>(view: () => SessionView, members: T): T & Attributes {
  if (!(inspect.custom in members)) {
    // console.log() looks behind a Proxy, and would show the members only.
    Object.defineProperty(members, inspect.custom, { value: () => ({ ...object }), configurable: true });
  }
  const object: T & Attributes = new Proxy(members, new AttributeTraps(view)) as T & Attributes;
  return object;
}

class AttributeTraps implements ProxyHandler<object> {
  // A function, because regenerate() and reload() put another view in its place.
  readonly #view: () => SessionView;

  constructor(view: () => SessionView) {
    this.#view = view;
  }

  get(members: object, key: string | symbol, receiver: unknown): unknown {
    if (typeof key === "symbol" || key in members) return Reflect.get(members, key, receiver);
    return this.#view().read(key);
  }

  set(members: object, key: string | symbol, value: unknown): boolean {
    if (typeof key === "string") {
      checkAttributeName(key);
      if (!(key in members)) {
        this.#view().assign(key, value);
        return true;
      }
    }
    return Reflect.set(members, key, value);
  }

  has(members: object, key: string | symbol): boolean {
    return key in members || (typeof key === "string" && this.#view().live.has(key));
  }

  deleteProperty(members: object, key: string | symbol): boolean {
    if (typeof key === "symbol" || key in members) return Reflect.deleteProperty(members, key);
    this.#view().remove(key);
    return true;
  }

  ownKeys(members: object): (string | symbol)[] {
    const own = Reflect.ownKeys(members);
    return [
      ...own,
      ...this.#view()
        .live.names()
        .filter((name) => !(name in members)),
    ];
  }

  getOwnPropertyDescriptor(members: object, key: string | symbol): PropertyDescriptor | undefined {
    if (typeof key === "symbol" || key in members) return Reflect.getOwnPropertyDescriptor(members, key);
    if (!this.#view().live.has(key)) return undefined;
    return { value: this.#view().read(key), writable: true, enumerable: true, configurable: true };
  }

  defineProperty(members: object, key: string | symbol, descriptor: PropertyDescriptor): boolean {
    if (typeof key === "symbol" || key in members) return Reflect.defineProperty(members, key, descriptor);
    if (!("value" in descriptor)) {
      throw new MsmError(
        "MSM_ERR_ATTRIBUTE_NAME",
        `the session attribute "${key}" must be a value, not an accessor`,
      );
    }
    this.#view().assign(key, descriptor.value);
    return true;
  }

  setPrototypeOf(): boolean {
    return false;
  }

  preventExtensions(): boolean {
    return false;
  }
}
