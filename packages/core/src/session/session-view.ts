import { inspect } from "node:util";
import { MsmError } from "../errors.js";
import { type AttributeTable, checkAttributeName, sameBytes } from "./attribute-table.js";
import type { LiveSession } from "./live-session.js";
import type { ResolveEncoded } from "./merge.js";
import type { Attributes } from "./session.js";

/** An attribute as a request read it last. */
interface Sight {
  readonly value: unknown;
  /** Its bytes in the table at that time. */
  readonly bytes: Uint8Array | undefined;
  /** The folded change that had last touched it. */
  readonly change: number;
}

/**
 * One request's look at a live session. It marks what the request touched, so that a commit encodes that and no more:
 * names that were assigned or deleted, and names whose value is an object, as that may be changed in place.
 *
 * Where the request assigns an attribute that another one has changed since this one read it, both changed the same: a
 * conflict, though it never leaves the process.
 */
export class SessionView {
  readonly live: LiveSession;
  /** Decides conflicts with other requests in this process; default: as between processes. */
  resolve: ResolveEncoded;
  readonly #seen = new Map<string, Sight>();
  /** What this request assigned since the last fold; undefined for a deletion. */
  readonly #assigned = new Map<string, unknown>();
  /** Numbers of the changes that this request folded. */
  readonly #changes: number[] = [];
  /** Marked names, each with the object that was handed out or assigned; undefined where it was none. */
  readonly #marked = new Map<string, object | undefined>();
  /** Attributes that this request set in vain: a fold of them failed, and they were neither set anew nor deleted. */
  readonly #lost = new Map<string, MsmError>();

  constructor(live: LiveSession) {
    this.live = live;
    this.resolve = live.resolve;
  }

  read(name: string): unknown {
    const held = this.#marked.get(name);
    // It was taken out of the session, and what was done to it since is not to be lost for another object.
    if (held !== undefined && held !== this.live.read(name)) this.live.bringBack(name, held);
    const value = this.live.handOut(name);
    this.#see(name, value);
    if (isObject(value) && !this.#marked.has(name)) this.#marked.set(name, value);
    return value;
  }

  assign(name: string, value: unknown): void {
    const seen = this.#seen.get(name);
    if (seen !== undefined && this.#hasChangedSince(name, seen)) this.#assignInConflict(name, seen, value);
    else this.#assign(name, value);
  }

  remove(name: string): void {
    if (this.live.has(name)) this.assign(name, undefined);
    else this.#lost.delete(name);
  }

  /** Takes back what this request assigned or changed and did not commit. */
  revert(): void {
    for (const name of this.#marked.keys()) {
      // Another request may have assigned it since, or may share the object.
      const isMine = !this.#assigned.has(name) || Object.is(this.#assigned.get(name), this.live.read(name));
      if (isMine) this.live.revert(name);
    }
    this.#marked.clear();
    this.#assigned.clear();
    this.#lost.clear();
    this.#seen.clear();
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
    const before = this.live.changes;
    try {
      return this.#foldAll();
    } finally {
      if (this.live.changes > before) this.#changes.push(this.live.changes);
    }
  }

  /** Why something that this request folded was given up, up to a change that it waits for; undefined where nothing was. */
  refusal(owed: number): MsmError | undefined {
    for (const change of [owed, ...this.#changes]) {
      const error = this.live.refusal(change);
      if (error !== undefined) return error;
    }
    return undefined;
  }

  #foldAll(): number {
    for (const error of this.#lost.values()) throw error;
    if (this.#marked.size === 0) return 0;
    for (const [name, object] of this.#marked) if (object !== undefined) this.live.bringBack(name, object);
    const change = this.#foldMarked();
    this.#assigned.clear();
    for (const name of this.#marked.keys()) if (this.#seen.has(name)) this.#see(name, this.live.read(name));
    // An object that was handed out may still be changed after this commit; a primitive value can not.
    for (const [name, object] of this.#marked) if (object === undefined) this.#marked.delete(name);
    return change;
  }

  #see(name: string, value: unknown): void {
    const { live } = this;
    this.#seen.set(name, { value, bytes: live.table.get(name), change: live.changeOf(name) });
  }

  #assign(name: string, value: unknown): void {
    this.#lost.delete(name);
    this.live.assign(name, value);
    this.#assigned.set(name, value);
    this.#marked.set(name, isObject(value) ? value : undefined);
    if (this.#seen.has(name)) this.#see(name, value);
  }

  /** Quick to say no: it is asked at each assignment. An object that both hold is compared by who folded it last. */
  #hasChangedSince(name: string, { value, change }: Sight): boolean {
    const current = this.live.read(name);
    if (!Object.is(current, value)) return true;
    return isObject(value) && this.live.changeOf(name) !== change;
  }

  #assignInConflict(name: string, { value: seen, bytes }: Sight, value: unknown): void {
    const { live } = this;
    let kept = value;
    try {
      const base = isObject(seen) ? bytes : live.encode(seen);
      const [mine, theirs] = [live.encode(value), live.encoded(name)];
      const hasChanged = !sameBytes(base, theirs) && !(mine === undefined && theirs === undefined);
      const resolved = hasChanged ? this.resolve({ name, base, mine, theirs }) : mine;
      if (resolved !== mine) kept = live.decode(resolved);
    } catch (thrown) {
      this.#marked.delete(name);
      this.#lost.set(name, MsmError.from(thrown, "MSM_ERR_CODEC"));
      return;
    }
    this.#assign(name, kept);
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

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

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
