import { inspect } from "node:util";
import { MsmError } from "../errors.js";
import { SmallMap } from "../small-map.js";
import { type AttributeTable, checkAttributeName, sameBytes } from "./attribute-table.js";
import type { LiveSession } from "./live-session.js";
import type { ResolveEncoded } from "./merge.js";
import type { Attributes, MemberRules } from "./session.js";

// Classes, see storage/answers.ts.

/** An attribute as a request read it last. */
class Sight {
  readonly value: unknown;
  /** Its bytes at that time, with what others had made of it until then. */
  readonly bytes: Uint8Array | undefined;
  /** Whether this request itself assigned it. */
  readonly isMine: boolean;

  constructor(value: unknown, bytes: Uint8Array | undefined, isMine: boolean) {
    this.value = value;
    this.bytes = bytes;
    this.isMine = isMine;
  }
}

/** What a request did to an attribute, or may do yet. */
class Mark {
  /** The object that was handed out or assigned, and may be changed in place; undefined where it was none. */
  readonly object: object | undefined;
  /** Whether it was assigned since the last fold, and what; undefined for a deletion. */
  readonly isAssigned: boolean;
  readonly assigned: unknown;
  /** When it was marked, or folded last, see `LiveSession.moment`. */
  readonly moment: number;

  constructor(object: object | undefined, isAssigned: boolean, assigned: unknown, moment: number) {
    this.object = object;
    this.isAssigned = isAssigned;
    this.assigned = assigned;
    this.moment = moment;
  }
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
  #resolve: ResolveEncoded | undefined;
  // Most requests touch little or nothing: what they need none of is not made.
  #seen: SmallMap<string, Sight> | undefined;
  #marks: SmallMap<string, Mark> | undefined;
  /** Numbers of the changes that this request folded. */
  #changes: number[] | undefined;
  /** Attributes that this request set in vain: a fold of them failed, and they were neither set anew nor deleted. */
  #lost: SmallMap<string, MsmError> | undefined;

  constructor(live: LiveSession) {
    this.live = live;
  }

  /** Decides conflicts with other requests in this process; default: as between processes. */
  get resolve(): ResolveEncoded {
    return this.#resolve ?? this.live.defaultResolve;
  }

  set resolve(resolve: ResolveEncoded) {
    this.#resolve = resolve;
  }

  read(name: string): unknown {
    const mark = this.#marks?.get(name);
    if (mark !== undefined) this.#bringBack(name, mark);
    const isShared = this.live.holders > 1 && !this.live.isClean(name);
    const value = this.live.handOut(name);
    const seen = this.#seen?.get(name);
    this.#see(name, value, seen?.isMine === true && seen.value === value);
    if (isShared && isObject(value)) this.#seeAsItIs(name);
    if (isObject(value) && this.#marks?.has(name) !== true) this.#mark(name, value, false, undefined);
    return value;
  }

  assign(name: string, value: unknown): void {
    const mark = this.#marks?.get(name);
    const refusal = mark?.isAssigned === true ? this.#refusalOf(name, mark) : undefined;
    if (refusal !== undefined) this.#lose(name, refusal);
    const seen = this.#seen?.get(name);
    if (seen !== undefined && this.#mayHaveChangedSince(name, seen, value))
      this.#assignInConflict(name, seen, value);
    else this.#assign(name, value);
  }

  remove(name: string): void {
    if (this.live.has(name)) this.assign(name, undefined);
    else this.#forgive(name);
  }

  /** Takes back what this request assigned or changed and did not commit. */
  revert(): void {
    for (const [name, { object, isAssigned, assigned }] of this.#marks ?? none) {
      // Another request may have put another value in its place.
      const isThere = Object.is(isAssigned ? assigned : object, this.live.read(name));
      if (!isThere) this.live.forgetUnfolded(name, this);
      // What was only read stays: others hold it, and change it yet.
      else if (isAssigned || this.live.hasChanged(name)) this.live.revert(name, this);
    }
    this.#marks = undefined;
    this.#lost = undefined;
    this.#seen = undefined;
    this.#changes = undefined;
  }

  /** Whether there is something to fold. What cannot be encoded was changed. */
  get isModified(): boolean {
    if (this.#lost !== undefined && this.#lost.size > 0) return true;
    try {
      return [...this.#names].some((name) => !sameBytes(this.live.encoded(name), this.live.table.get(name)));
    } catch {
      return true; // the fold tells why
    }
  }

  /**
   * The table as it would be with what this request changed; the session stays as it is.
   * @throws MsmError as `fold`
   */
  preview(): AttributeTable {
    this.#catchUpAll();
    const table = new Map(this.live.table);
    for (const name of this.#names) {
      const bytes = this.live.bytesToFold(name);
      if (bytes === undefined) table.delete(name);
      else table.set(name, bytes);
    }
    return table;
  }

  /**
   * Folds what this request changed into the live session.
   * @returns number of the change that must be saved before the request may be answered; 0 where it changed nothing
   * @throws MsmError MSM_ERR_CODEC, MSM_ERR_RECORD_TOO_LARGE, MSM_ERR_CONFLICT; again at each later call, until the
   *   handler has set the attributes anew or deleted them; after a conflict, until it has taken back all that it did
   */
  fold(): number {
    if (this.#marks === undefined && this.#lost === undefined) return 0;
    const before = this.live.changes;
    try {
      return this.#foldAll();
    } finally {
      if (this.live.changes > before) this.#noteChange(this.live.changes);
    }
  }

  /** Names of the attributes that are marked. */
  get #names(): Iterable<string> {
    return this.#marks?.keys() ?? [];
  }

  #noteChange(change: number): void {
    if (this.#changes === undefined) this.#changes = [change];
    else this.#changes.push(change);
  }

  /** Why something that this request folded, or that it waits for, was given up; undefined where nothing was. */
  refusal(owed: number): MsmError | undefined {
    if (!this.live.hasRefusals) return undefined;
    for (const change of [owed, ...(this.#changes ?? [])]) {
      const error = this.live.refusal(change);
      if (error !== undefined) return error;
    }
    return undefined;
  }

  /** The attributes that this request changed, where no node has them yet. */
  get unsavedNames(): readonly string[] {
    return this.live.unsavedNamesOf(this.#changes ?? []);
  }

  /**
   * Takes the newest changes of these attributes for the request's own, be it that another one made them.
   * @returns number of the newest of them that no node has; 0 where all are stored
   */
  takeOn(names: Iterable<string>): number {
    const changes = this.live.unsavedChangesOf(names);
    for (const change of changes) this.#noteChange(change);
    return Math.max(0, ...changes);
  }

  #foldAll(): number {
    this.#catchUpAll();
    const marks = this.#marks;
    if (marks === undefined || marks.size === 0) return 0;
    // What this request did to an object may have been folded by another that holds it as well.
    for (const shared of this.live.unsavedChangesOf(marks.keys())) this.#noteChange(shared);

    const change = this.#foldMarked(marks.keys());
    for (const [name, { object }] of marks) {
      const seen = this.#seen?.get(name);
      // What another assigned since, this request has not read, though it has just been committed together.
      const isCurrent = seen !== undefined && Object.is(seen.value, this.live.read(name));
      if (isCurrent) this.#see(name, seen.value, seen.isMine);
      // An object that was handed out may still be changed after this commit; a primitive value can not.
      if (object === undefined) marks.delete(name);
      else this.#mark(name, object, false, undefined);
    }
    return change;
  }

  /** @throws MsmError as `fold` */
  #catchUpAll(): void {
    this.#throwLost();
    for (const [name, mark] of this.#marks ?? none) this.#catchUp(name, mark);
    this.#throwLost();
  }

  #throwLost(): void {
    for (const error of this.#lost?.values() ?? []) throw error;
  }

  /** Sees to it that what this request did to an attribute is still there, whatever others did meanwhile. */
  #catchUp(name: string, mark: Mark): void {
    const refusal = this.#refusalOf(name, mark);
    if (refusal !== undefined) {
      this.#lose(name, refusal);
      return;
    }
    this.#bringBack(name, mark);
    // Another request that had assigned the same has taken it back; what a commit took, or something in its place, stays.
    const isTakenBack = !this.live.holdsValue(name) && !this.live.isFoldedSince(name, mark.moment);
    if (mark.isAssigned && isTakenBack) this.live.assign(name, mark.assigned, this);
  }

  /** Why what this request did to an attribute was refused, as another request's commit had taken it along. */
  #refusalOf(name: string, { object, moment }: Mark): MsmError | undefined {
    const refusal = this.live.refusalSince(name, moment);
    if (refusal === undefined || object === undefined) return refusal;
    return object === this.live.read(name) ? undefined : refusal;
  }

  #see(name: string, value: unknown, isMine: boolean): void {
    this.#seen ??= new SmallMap();
    this.#seen.set(name, new Sight(value, this.live.table.get(name), isMine));
  }

  /**
   * Others have this object too, or have assigned it, and no fold has taken what they made of it. As this request sees
   * it, they are in no conflict about it.
   */
  #seeAsItIs(name: string): void {
    const seen = this.#seen?.get(name);
    if (seen === undefined) return;
    try {
      this.#seen?.set(name, new Sight(seen.value, this.live.encoded(name), seen.isMine));
    } catch {
      // What cannot be encoded cannot be kept either: the fold of whoever made it so says that.
    }
  }

  /** An object that was taken out of the session counts still, for what its handler did to it. */
  #bringBack(name: string, { object }: Mark): void {
    if (object === undefined || object === this.live.read(name)) return;
    try {
      this.live.bringBack(name, object, this.resolve);
    } catch (thrown) {
      this.#lose(name, thrown);
    }
  }

  /** A value that could not be kept is made good by another one. What gave way in a conflict was based on what is no more. */
  #forgive(name: string): void {
    if (this.#lost?.get(name)?.code !== "MSM_ERR_CONFLICT") this.#lost?.delete(name);
  }

  #lose(name: string, thrown: unknown): void {
    this.#marks?.delete(name);
    this.#lost ??= new SmallMap();
    this.#lost.set(name, MsmError.from(thrown, "MSM_ERR_CODEC"));
  }

  #mark(name: string, object: object | undefined, isAssigned: boolean, assigned: unknown): void {
    this.#marks ??= new SmallMap();
    this.#marks.set(name, new Mark(object, isAssigned, assigned, this.live.moment));
  }

  #assign(name: string, value: unknown): void {
    this.#forgive(name);
    this.live.assign(name, value, this);
    this.#mark(name, isObject(value) ? value : undefined, true, value);
    if (this.#seen?.has(name) === true) this.#see(name, value, true);
  }

  /** Quick to say no: it is asked at each assignment. An object that is still there may have been changed in place. */
  #mayHaveChangedSince(name: string, { value, isMine }: Sight, assigned: unknown): boolean {
    const current = this.live.read(name);
    if (Object.is(current, assigned)) return !Object.is(current, value) && !isObject(assigned);
    return !Object.is(current, value) || (isObject(value) && !isMine && this.live.holders > 1);
  }

  #assignInConflict(name: string, { value: seen, bytes }: Sight, value: unknown): void {
    const { live } = this;
    try {
      const base = isObject(seen) ? bytes : live.encode(seen);
      const [mine, theirs] = [live.encode(value), live.encoded(name)];
      const isSame = isObject(seen) && live.read(name) === seen && sameBytes(mine, theirs);
      const hasChanged = !sameBytes(base, theirs) && !(mine === undefined && theirs === undefined);
      const resolved = hasChanged && !isSame ? this.resolve({ name, base, mine, theirs }) : mine;
      this.#assign(name, resolved === mine ? value : live.decode(resolved));
    } catch (thrown) {
      this.#lose(name, thrown);
    }
  }

  #foldMarked(names: Iterable<string>): number {
    const lost: string[] = [];
    try {
      return this.live.fold(names, (name) => lost.push(name));
    } catch (thrown) {
      for (const name of lost) this.#lose(name, thrown);
      throw MsmError.from(thrown, "MSM_ERR_CODEC");
    }
  }
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

const none: Iterable<[string, Mark]> = [];

/** What has a view; `regenerate()` and `reload()` put another one in its place. */
export interface ViewHolder {
  readonly view: SessionView;
}

const noRules: MemberRules = {};

/**
 * The view as an object: names that `members` has are its own, all others are attributes. Enumerating gives the
 * members' own enumerable names, then the attributes.
 */
export function viewAsObject<T extends object>(
  holder: ViewHolder,
  members: T,
  rules = noRules,
): T & Attributes {
  if (!(inspect.custom in members)) Object.defineProperty(members, inspect.custom, shownWhole);
  return new Proxy(members, new AttributeTraps(holder, rules)) as T & Attributes;
}

/** console.log() looks behind a Proxy, and would show the members only; what it calls there, it calls on the Proxy. */
const shownWhole: PropertyDescriptor = {
  value(this: object) {
    return { ...this };
  },
  configurable: true,
};

class AttributeTraps implements ProxyHandler<object> {
  readonly #holder: ViewHolder;
  readonly #rules: MemberRules;

  constructor(holder: ViewHolder, rules: MemberRules) {
    this.#holder = holder;
    this.#rules = rules;
  }

  #isMember(members: object, key: string): boolean {
    if (!(key in members)) return this.#isOwn(key);
    return !(this.#isYielding(key) && this.#holder.view.live.has(key));
  }

  #isOwn(key: string): boolean {
    const { isOwn } = this.#rules;
    return isOwn?.(key) === true;
  }

  #isYielding(key: string): boolean {
    const { yielding } = this.#rules;
    return yielding?.has(key) === true;
  }

  get(members: object, key: string | symbol, receiver: unknown): unknown {
    // What is behind a symbol may be what no Proxy has: private elements of the members.
    if (typeof key === "symbol") return Reflect.get(members, key);
    return this.#isMember(members, key) ? Reflect.get(members, key, receiver) : this.#holder.view.read(key);
  }

  set(members: object, key: string | symbol, value: unknown): boolean {
    if (typeof key === "string") {
      checkAttributeName(key);
      if (this.#isAttribute(members, key)) {
        this.#holder.view.assign(key, value);
        return true;
      }
    }
    return Reflect.set(members, key, value);
  }

  /** Whether what is given to a name is put into the session. */
  #isAttribute(members: object, key: string): boolean {
    return key in members ? this.#isYielding(key) : !this.#isOwn(key);
  }

  has(members: object, key: string | symbol): boolean {
    return (
      key in members || (typeof key === "string" && (this.#isOwn(key) || this.#holder.view.live.has(key)))
    );
  }

  deleteProperty(members: object, key: string | symbol): boolean {
    if (typeof key === "symbol" || this.#isMember(members, key)) return Reflect.deleteProperty(members, key);
    this.#holder.view.remove(key);
    return true;
  }

  ownKeys(members: object): (string | symbol)[] {
    const own = Reflect.ownKeys(members);
    const listed = this.#rules.listed?.filter((name) => !own.includes(name)) ?? [];
    const attributes = this.#holder.view.live.names().filter((name) => !this.#isMember(members, name));
    return [...listed, ...own, ...attributes];
  }

  getOwnPropertyDescriptor(members: object, key: string | symbol): PropertyDescriptor | undefined {
    if (typeof key === "symbol" || this.#isMember(members, key)) return this.#describe(members, key);
    if (!this.#holder.view.live.has(key)) return undefined;
    return { value: this.#holder.view.read(key), writable: true, enumerable: true, configurable: true };
  }

  #describe(members: object, key: string | symbol): PropertyDescriptor | undefined {
    const own = Reflect.getOwnPropertyDescriptor(members, key);
    if (own !== undefined || !this.#rules.listed?.includes(String(key))) return own;
    const inherited = Reflect.getOwnPropertyDescriptor(Object.getPrototypeOf(members) as object, key);
    return { ...inherited, enumerable: true, configurable: true };
  }

  defineProperty(members: object, key: string | symbol, descriptor: PropertyDescriptor): boolean {
    if (typeof key === "symbol" || !this.#isAttribute(members, key))
      return Reflect.defineProperty(members, key, descriptor);
    if (!("value" in descriptor)) {
      throw new MsmError(
        "MSM_ERR_ATTRIBUTE_NAME",
        `the session attribute "${key}" must be a value, not an accessor`,
      );
    }
    this.#holder.view.assign(key, descriptor.value);
    return true;
  }

  setPrototypeOf(): boolean {
    return false;
  }

  preventExtensions(): boolean {
    return false;
  }
}
