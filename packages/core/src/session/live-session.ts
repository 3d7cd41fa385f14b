import type { Codec } from "../codec/codec.js";
import { MsmError } from "../errors.js";
import { SmallMap } from "../small-map.js";
import type { Revision } from "../storage/storage.js";
import {
  type AttributeTable,
  checkAttributeName,
  checkTableSize,
  differingNames,
  emptyTable,
  sameBytes,
} from "./attribute-table.js";
import { lineageOf } from "./lineage.js";
import type { ResolveEncoded } from "./merge.js";
import { mostAncestors, type SuccessorPlace } from "./record.js";
import { RestingTable } from "./resting-table.js";
import type { SessionIdentity } from "./session-id.js";
import { SmallTable } from "./small-table.js";

/** What of a session one version has. */
export interface Content {
  readonly writeId: string;
  /** The write ids of versions that it contains, as far as is known, the newest last. */
  readonly ancestors: readonly string[];
  readonly table: AttributeTable;
  readonly idleTimeoutMs: number;
}

/** The newest state that is known to be on a node. A class, see storage/answers.ts. */
export class StoredState implements Content {
  /** Id of the node that has it. */
  readonly node: string;
  readonly revision: Revision;
  readonly writeId: string;
  readonly ancestors: readonly string[];
  /** Changed by the session alone, in its form. */
  table: AttributeTable;
  readonly idleTimeoutMs: number;

  constructor(node: string, revision: Revision, { writeId, ancestors, table, idleTimeoutMs }: Content) {
    this.node = node;
    this.revision = revision;
    this.writeId = writeId;
    this.ancestors = ancestors;
    this.table = table;
    this.idleTimeoutMs = idleTimeoutMs;
  }
}

/** Writes of unknown outcome that are remembered; older ones have long been overtaken. */
const mostUncertain = 16;

/** Where a session goes on that got a new id, see `RegenerateOptions.grace`. */
export interface Succession extends SuccessorPlace {
  /** The session, where this process has it. */
  readonly live?: LiveSession;
  /** The table that both have in common. */
  readonly base: AttributeTable;
}

/** What is known of the end of a session. */
class Ending {
  /** What its successor may be, by their ids. */
  readonly heirs = new SmallMap<string, Succession>();
  successor: Succession | undefined;
  underWay = 0;
}

/** A value that an attribute was given, over those that it had before, while no fold has taken any of them. */
class Unfolded {
  /** Which request gave it; undefined where it is an object that was there, which others may have changed in place. */
  readonly by: object | undefined;
  readonly value: unknown;
  readonly below: Unfolded | undefined;

  constructor(by: object | undefined, value: unknown, below: Unfolded | undefined) {
    this.by = by;
    this.value = value;
    this.below = below;
  }
}

/** That what was done to an attribute was given up, and when that was. */
interface Refusal {
  /** See `LiveSession.moment`. */
  readonly moment: number;
  readonly error: MsmError;
}

/** Saved versions that a session is known to contain; older ones have long been replaced everywhere. */
const mostContained = 32;

/** Unsaved changes that are told apart; what came before them is one. */
const mostUnsavedChanges = 64;

/** What a live session begins with. */
export interface LiveSessionStart {
  readonly identity: SessionIdentity;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
  readonly idleTimeoutMs: number;
  /** Id of the node that has, or shall have, the record. */
  readonly node: string;
  readonly codec: Codec;
  /** Makes what decides what stands where two requests changed the same attribute; that may throw MSM_ERR_CONFLICT. */
  readonly resolver: (identity: SessionIdentity) => ResolveEncoded;
  /** The most that the attributes may take together, packed. */
  readonly maxTableBytes: number;
  readonly table?: AttributeTable;
  readonly stored?: StoredState;
  /** Whether it is to be saved with its next use though nothing changed. Default false. */
  readonly isToBeRewritten?: boolean;
}

/**
 * A session in memory: its attributes as encoded bytes, their values where something asked for them, and how much of
 * it is stored. In sticky mode all requests of the session in this process share one; else each has its own.
 *
 * A value that a handler assigned or changed counts as a change once it is folded: encoded, and different from the
 * bytes in the table. Folded changes are numbered, so that whoever made one can wait for the save that contains it.
 */
export class LiveSession {
  readonly identity: SessionIdentity;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
  /** Id of the node that has, or shall have, the record: the hint in the cookie. */
  node: string;
  /** Id of the node that the client's cookie names, as far as this process knows. */
  announcedNode: string | undefined;
  #lookedForOn: readonly string[] = none;
  /** Most sessions that are in memory do not end. */
  #ending: Ending | undefined;
  /** True from the call of `destroy()`; nothing is saved any more. */
  destroyed = false;
  /** Requests that hold the session now. */
  holders = 0;
  /** How often another's version was taken in. */
  merges = 0;

  readonly #resolver: LiveSessionStart["resolver"];
  #defaultResolve: ResolveEncoded | undefined;
  #resolve: ResolveEncoded | undefined;
  #stored: StoredState | undefined;
  /** What was stored before that, by this process. */
  #previous: StoredState | undefined;
  /** Write ids of the versions that this session contains, the newest last. */
  #contained: readonly string[] = none;
  readonly #codec: Codec;
  readonly #maxTableBytes: number;
  #idleTimeoutMs: number;
  #table: AttributeTable;
  #changes = 0;
  readonly #rewrite: number;
  #savedChanges = 0;
  /** The attributes of each folded change that is on no node yet. */
  #unsavedNames: SmallMap<number, readonly string[]> | undefined;
  /** Changes that gave way to another process', and why. */
  #refused: SmallMap<number, MsmError> | undefined;
  /** The last refusal that touched an attribute, and when that was. */
  #refusals: SmallMap<string, Refusal> | undefined;
  /** Folds that made no change: refused, or of values that stood already. */
  #idleFolds = 0;
  /** When a fold last took what an attribute had been given, see `moment`. */
  #folded: SmallMap<string, number> | undefined;
  /** Decoded or assigned values; an entry of undefined is a deletion that is not folded yet. */
  #values: SmallMap<string, unknown> | undefined;
  /** Tables that may be on a node under their writeId, as nobody knows what became of the write. */
  #uncertain: SmallMap<string, AttributeTable> | undefined;
  /** Tables that are on their way to a node, by their writeId. */
  #underWay: SmallMap<string, AttributeTable> | undefined;
  /** Which change last touched an attribute. */
  #changedBy: SmallMap<string, number> | undefined;
  /** Attributes that a merge changed while a handler had changed them too, with the bytes both began with. */
  #contested: SmallMap<string, Uint8Array | undefined> | undefined;
  /** Objects that a merge or a failed fold took out of the session while handlers may hold them, with what stood then. */
  #detached: WeakMap<object, Uint8Array | undefined> | undefined;
  /** What each attribute was given since the last fold, the newest on top: a request may take back its own. */
  #unfolded: SmallMap<string, Unfolded> | undefined;
  /** Whether requests shared it that have all ended. */
  #isSettled = false;
  /** Names whose value was decoded from the table's bytes; handlers may have changed it since. */
  #decoded: SmallMap<string, true> | undefined;
  /** Of these, the names whose value is known to be what those bytes decode to. */
  #clean: SmallMap<string, true> | undefined;

  constructor(start: LiveSessionStart) {
    this.identity = start.identity;
    this.createdAtMs = start.createdAtMs;
    this.expiresAtMs = start.expiresAtMs;
    this.node = start.node;
    this.#goOnFrom(start.stored);
    this.#codec = start.codec;
    this.#resolver = start.resolver;
    this.#maxTableBytes = start.maxTableBytes;
    this.#idleTimeoutMs = start.idleTimeoutMs;
    this.#table = start.table ?? start.stored?.table ?? emptyTable;
    if (start.stored === undefined && this.#table.size > 0) this.#changes = 1;
    if (start.isToBeRewritten === true) this.#changes = 1;
    this.#rewrite = this.#changes;
  }

  /** As `resolve`, while no request has the session to itself. */
  get defaultResolve(): ResolveEncoded {
    this.#defaultResolve ??= this.#resolver(this.identity);
    return this.#defaultResolve;
  }

  /** Decides what stands where this process and another changed the same attribute. */
  get resolve(): ResolveEncoded {
    return this.#resolve ?? this.defaultResolve;
  }

  set resolve(resolve: ResolveEncoded) {
    this.#resolve = resolve;
  }

  /** What is known to be on a node; undefined until the session is stored for the first time. */
  get stored(): StoredState | undefined {
    return this.#stored;
  }

  /** Write ids of the versions that this session comes of, as it is now. */
  get contained(): readonly string[] {
    return this.#contained;
  }

  /** Ids of all nodes that a cookie names which may be out, and of those that were found to have the session. */
  get lookedForOn(): readonly string[] {
    return this.#lookedForOn;
  }

  /** Notes that the session may be looked for on this node. */
  noteLookedForOn(node: string): void {
    if (this.#lookedForOn.length === 0) this.#lookedForOn = onlyOn(node);
    else if (!this.#lookedForOn.includes(node)) this.#lookedForOn = [...this.#lookedForOn, node];
  }

  /** Of a session that requests of this process are about to end: what its successor will be if that one is fastest. */
  heir(id: string): Succession | undefined {
    return this.#ending?.heirs.get(id);
  }

  /** Notes what its successor will be if that one is fastest. */
  noteHeir(heir: Succession): void {
    this.#ending ??= new Ending();
    this.#ending.heirs.set(heir.id, heir);
  }

  /** Of a session that is destroyed: where it goes on under a new id. */
  get successor(): Succession | undefined {
    return this.#ending?.successor;
  }

  set successor(successor: Succession | undefined) {
    this.#ending ??= new Ending();
    this.#ending.successor = successor;
  }

  /** How many requests of this process have sent a node the end of it, and have no answer yet. */
  get endsUnderWay(): number {
    return this.#ending?.underWay ?? 0;
  }

  set endsUnderWay(count: number) {
    this.#ending ??= new Ending();
    this.#ending.underWay = count;
  }

  /** The attributes' bytes, as of the last fold. */
  get table(): AttributeTable {
    return this.#table;
  }

  /** Number of the newest folded change; 0 where there was none since the session was loaded or made. */
  get changes(): number {
    return this.#changes;
  }

  /** The change that a session had from the beginning and that is on no node yet; 0 where there is none. */
  get owedFromStart(): number {
    return this.isSaved(this.#rewrite) ? 0 : this.#rewrite;
  }

  /** True where a folded change is on no node. */
  get unsaved(): boolean {
    return this.#savedChanges < this.#changes;
  }

  /** True where the client may be told of the session: it is stored, or has something to store. */
  get announced(): boolean {
    return this.stored !== undefined || this.#changes > 0;
  }

  get idleTimeoutMs(): number {
    return this.#idleTimeoutMs;
  }

  set idleTimeoutMs(ms: number) {
    if (ms === this.#idleTimeoutMs) return;
    this.#idleTimeoutMs = ms;
    if (this.announced) this.#changes++;
  }

  /** True where the change of that number is on a node. */
  isSaved(change: number): boolean {
    return change <= this.#savedChanges;
  }

  /** Notes that `state`, with all changes up to `change`, is on a node. */
  markSaved(state: StoredState, change: number): void {
    this.#previous = this.#stored;
    this.#goOnFrom(state);
    this.#savedChanges = Math.max(this.#savedChanges, change);
    for (const unsaved of this.#unsavedNames?.keys() ?? [])
      if (unsaved <= change) this.#unsavedNames?.delete(unsaved);
    if (this.#unsavedNames?.size === 0) this.#unsavedNames = undefined;
    this.#uncertain = undefined;
    this.#relax();
  }

  /** Notes that another node has what was stored. */
  moved(node: string, revision: Revision): void {
    if (this.#stored === undefined) return;
    this.#stored = new StoredState(node, revision, this.#stored);
    this.node = node;
  }

  /** Goes on from another's version, which is about to be merged with. */
  takeIn(theirs: StoredState): void {
    this.#previous = undefined;
    this.#goOnFrom(theirs);
  }

  /** Notes a write that goes out now: a node may have it before this process knows. */
  noteUnderWay(writeId: string, table: AttributeTable): void {
    this.#underWay = put(this.#underWay, writeId, table);
  }

  /** Notes that a write is not under way any more. */
  noteAnswered(writeId: string): void {
    this.#underWay?.delete(writeId);
    if (this.#underWay?.size === 0) this.#underWay = undefined;
  }

  /** Notes a write whose outcome is unknown: a node may have this state, or get it yet. */
  noteUncertain(writeId: string, table: AttributeTable): void {
    this.#uncertain = put(this.#uncertain, writeId, table);
    const [oldest] = this.#uncertain.keys();
    if (this.#uncertain.size > mostUncertain && oldest !== undefined) this.#uncertain.delete(oldest);
  }

  /**
   * The last state that this session and another version have in common. Of two that were made of the same one, in
   * different places, it is what came before, if this process knows it; else what both agree in.
   */
  commonWith(theirs: StoredState): AttributeTable {
    const mine = this.#stored;
    const own = this.#newestOwnIn(theirs);
    if (own !== undefined || mine === undefined) return own ?? emptyTable;
    if (theirs.writeId === mine.writeId) return mine.table;
    if (theirs.revision.version > mine.revision.version) return mine.table;
    const isSibling = theirs.revision.version === mine.revision.version;
    if (isSibling && this.#previous !== undefined) return this.#previous.table;
    return new Map([...mine.table].filter(([name, bytes]) => sameBytes(bytes, theirs.table.get(name))));
  }

  /** What this session wrote, without knowing what became of it, and another version is or goes on from. */
  #newestOwnIn({ writeId, ancestors }: StoredState): AttributeTable | undefined {
    const own = [...ancestors, writeId].findLast(
      (each) => this.#underWay?.has(each) || this.#uncertain?.has(each),
    );
    return own === undefined ? undefined : (this.#underWay?.get(own) ?? this.#uncertain?.get(own));
  }

  /** Decodes on first use. @returns undefined where there is no such attribute */
  read(name: string): unknown {
    if (this.#values?.has(name) === true) return this.#values?.get(name);
    const bytes = this.#table.get(name);
    if (bytes === undefined) return undefined;
    const value = this.#codec.decode(bytes);
    this.#values = put(this.#values, name, value);
    this.#decoded = add(this.#decoded, name);
    this.#clean = add(this.#clean, name);
    return value;
  }

  /** As `read`, for a handler that may change the object it gets. */
  handOut(name: string): unknown {
    const value = this.read(name);
    if (typeof value === "object") this.#clean?.delete(name);
    return value;
  }

  /** True where nobody can have made anything of the attribute that is not in the table. */
  isClean(name: string): boolean {
    return this.#values?.has(name) !== true || this.#clean?.has(name) === true;
  }

  has(name: string): boolean {
    return this.#values?.has(name) === true ? this.#values?.get(name) !== undefined : this.#table.has(name);
  }

  /** Names of all attributes, in the order in which they came. */
  names(): string[] {
    const names = new Set(this.#table.keys());
    for (const [name, value] of this.#values ?? []) {
      if (value === undefined) names.delete(name);
      else names.add(name);
    }
    return [...names];
  }

  /**
   * @param by the request that assigns, see `revert`
   * @throws MsmError MSM_ERR_ATTRIBUTE_NAME
   */
  assign(name: string, value: unknown, by: object): void {
    checkAttributeName(name);
    if (this.holders > 1) this.#rememberReplaced(name, value);
    if (this.holders > 0) this.#noteUnfolded(name, value, by);
    this.#values = put(this.#values, name, value);
    this.#spoil(name);
  }

  /** True where the attribute was read or assigned, and not taken back since. */
  holdsValue(name: string): boolean {
    return this.#values?.has(name) === true;
  }

  /** True where the attribute's value is not what the last fold left. */
  hasChanged(name: string): boolean {
    return !this.#isUnchanged(name);
  }

  /**
   * Takes back what a request assigned to an attribute, or how its value was changed, since the last fold. What another
   * request had assigned before stands again, as that one may be told that it is stored.
   */
  revert(name: string, by: object): void {
    const left = without(this.#unfolded?.get(name), by);
    if (left !== undefined && left.value === this.#values?.get(name)) {
      this.#unfolded = put(this.#unfolded, name, left);
      return;
    }
    this.#drop(name);
    if (left === undefined) {
      this.#contested?.delete(name);
      return;
    }
    this.#unfolded = put(this.#unfolded, name, left);
    this.#values = put(this.#values, name, left.value);
  }

  /** As `revert`, where another request has already put another value in the place of this one's. */
  forgetUnfolded(name: string, by: object): void {
    const left = without(this.#unfolded?.get(name), by);
    if (left === undefined) this.#unfolded?.delete(name);
    else this.#unfolded = put(this.#unfolded, name, left);
  }

  /**
   * Encodes the named attributes and puts what differs into the table, as one change.
   * @returns number of the newest change that any of them is part of; 0 where none was changed
   * @param onLost told of each attribute that has its former value again, as the new one cannot be kept
   * @throws MsmError MSM_ERR_CODEC, MSM_ERR_RECORD_TOO_LARGE, and MSM_ERR_CONFLICT from `resolve`
   */
  fold(names: Iterable<string>, onLost: (name: string) => void): number {
    let folded: SmallTable | undefined;
    let changed: string[] | undefined;
    let unchanged: string[] | undefined;
    let newest = 0;
    for (const name of names) {
      if (this.#mayHaveChanged(name)) {
        const bytes = this.#foldedBytes(name, onLost);
        if (sameBytes(bytes, this.#table.get(name))) {
          if (this.#decoded?.has(name) === true) this.#clean = add(this.#clean, name);
          if (this.#unfolded?.delete(name)) unchanged = withOne(unchanged, name);
        } else {
          folded ??= SmallTable.of(this.#table);
          if (bytes === undefined) folded.delete(name);
          else folded.set(name, bytes);
          changed = withOne(changed, name);
          this.#spoil(name);
        }
        if (bytes === undefined) this.#values?.delete(name);
      }
      newest = Math.max(newest, this.#changedBy?.get(name) ?? 0);
    }
    if (unchanged !== undefined) {
      this.#idleFolds++;
      for (const name of unchanged) this.#folded = put(this.#folded, name, this.moment);
    }
    if (folded === undefined || changed === undefined) return newest;
    this.#checkSize(folded, changed, onLost);
    this.#table = folded;
    this.#changes++;
    for (const name of changed) {
      this.#changedBy = put(this.#changedBy, name, this.#changes);
      this.#folded = put(this.#folded, name, this.moment);
      this.#unfolded?.delete(name);
    }
    this.#noteUnsaved(changed);
    return this.#changes;
  }

  /**
   * Gives up the changes that touched an attribute whose new value cannot stand, each with all that it changed, so that
   * nothing of a refused request is kept; and with them those that they changed again.
   * @returns the attributes that the changes touched
   */
  refuse(names: Iterable<string>, error: MsmError): ReadonlySet<string> {
    const given = new Set(names);
    for (let before = -1; before < given.size; ) {
      before = given.size;
      for (const [change, touched] of this.#unsavedNames ?? []) {
        if (!touched.some((name) => given.has(name))) continue;
        this.#refused = put(this.#refused, change, error);
        for (const name of touched) given.add(name);
      }
    }
    // Who reads such an attribute from now on reads what stands.
    for (const name of given) {
      this.#changedBy?.delete(name);
      this.#refusals = put(this.#refusals, name, { moment: this.moment, error });
    }
    return given;
  }

  /** The attributes that these changes touched, where no node has them yet. */
  unsavedNamesOf(changes: Iterable<number>): readonly string[] {
    return [...changes].flatMap((change) => this.#unsavedNames?.get(change) ?? []);
  }

  /** The newest change of each of these attributes, where no node has that yet. */
  unsavedChangesOf(names: Iterable<string>): readonly number[] {
    if (!this.unsaved) return [];
    return [...names].flatMap((name) => {
      const change = this.#changedBy?.get(name) ?? 0;
      return change > this.#savedChanges ? [change] : [];
    });
  }

  /** True where any change was given up while the requests that have the session now had it. */
  get hasRefusals(): boolean {
    return this.#refused !== undefined;
  }

  /** Grows with each change, and each fold that made none. */
  get moment(): number {
    return this.#changes + this.#idleFolds;
  }

  /** Whether a fold has taken since that moment what the attribute had been given, by whomever. */
  isFoldedSince(name: string, moment: number): boolean {
    return (this.#folded?.get(name) ?? 0) > moment;
  }

  /** Why what was done to an attribute at that moment was given up since; undefined where it was not. */
  refusalSince(name: string, moment: number): MsmError | undefined {
    const refusal = this.#refusals?.get(name);
    return refusal !== undefined && refusal.moment >= moment ? refusal.error : undefined;
  }

  /** Why the change of that number was given up; undefined where it was not. */
  refusal(change: number): MsmError | undefined {
    return this.#refused?.get(change);
  }

  /**
   * Goes over to a merged table, as one change. What handlers changed and did not fold yet stays, and is resolved when
   * it is folded; other values give way, and objects among them are remembered, see `bringBack`.
   */
  rebase(merged: AttributeTable): void {
    for (const name of this.#values?.keys() ?? []) {
      const bytes = this.#table.get(name);
      if (sameBytes(bytes, merged.get(name))) continue;
      if (this.#isUnchanged(name)) this.#drop(name);
      else if (!this.#contested?.has(name)) this.#contested = put(this.#contested, name, bytes);
    }
    this.#table = merged;
    this.#changes++;
    this.merges++;
  }

  /**
   * As `rebase`, where what was merged are changes of this process: of requests that had the session under its former id.
   * They may be refused as any others.
   */
  adopt(merged: AttributeTable): void {
    const changed = differingNames(this.#table, merged);
    this.rebase(merged);
    for (const name of changed) this.#changedBy = put(this.#changedBy, name, this.#changes);
    this.#noteUnsaved(changed);
  }

  /**
   * Where another value took the place of this object, and its handler changed it since, both changed the attribute.
   * @param resolve decides what stands; what it throws leaves the other value there
   */
  bringBack(name: string, object: object, resolve: ResolveEncoded): void {
    if (!this.#detached?.has(object)) return;
    const base = this.#detached?.get(object);
    const mine = this.#codec.encode(object);
    if (sameBytes(base, mine)) return;
    const theirs = this.encoded(name);
    const kept = sameBytes(base, theirs) ? mine : resolve({ name, base, mine, theirs });
    // Others may hold the object as well: what they did to it until now is in it, and counts no second time.
    if (kept === mine) this.#detached?.delete(object);
    else this.#detached = putWeak(this.#detached, object, mine);
    this.#values = put(this.#values, name, kept === mine ? object : this.decode(kept));
    this.#spoil(name);
  }

  /** The bytes of an attribute as it is now, folded or not. @throws MsmError MSM_ERR_CODEC */
  encoded(name: string): Uint8Array | undefined {
    return this.#values?.has(name) === true
      ? this.#codec.encode(this.#values?.get(name))
      : this.#table.get(name);
  }

  /** The bytes that a fold would give an attribute. @throws MsmError MSM_ERR_CODEC, and MSM_ERR_CONFLICT from `resolve` */
  bytesToFold(name: string): Uint8Array | undefined {
    return this.#resolved(name, this.encoded(name));
  }

  /** The bytes that a value would have. @throws MsmError MSM_ERR_CODEC */
  encode(value: unknown): Uint8Array | undefined {
    return this.#codec.encode(value);
  }

  decode(bytes: Uint8Array | undefined): unknown {
    return bytes === undefined ? undefined : this.#codec.decode(bytes);
  }

  /**
   * Forgets values that are not what the table's bytes decode to. For when no request holds them: what was assigned
   * becomes what another process would read (a Date, under JSON, becomes text), and what was never committed is gone.
   */
  settle(): void {
    for (const name of this.#values?.keys() ?? []) if (!this.isClean(name)) this.#values?.delete(name);
    this.#contested = undefined;
    this.#unfolded = undefined;
    this.#refused = undefined;
    this.#refusals = undefined;
    if (!this.unsaved) {
      this.#changedBy = undefined;
      this.#folded = undefined;
    }
    this.#isSettled = true;
    this.#relax();
  }

  /**
   * Takes a fraction of the memory from now on, until somebody uses it again: for sessions that nobody has, and whose newest
   * state is stored.
   */
  rest(): void {
    const isResting = this.#table instanceof RestingTable && !this.#table.isAwake;
    if (isResting || this.holders > 0 || this.unsaved || this.#stored?.table !== this.#table) return;
    this.#table = new RestingTable(this.#table);
    this.#stored.table = this.#table;
    this.#previous = undefined;
    this.#contained = this.#contained.slice(-mostAncestors);
    this.#values = undefined;
    this.#decoded = undefined;
    this.#clean = undefined;
    this.#defaultResolve = undefined;
  }

  /** What is unsaved of a request that had the session to itself overwrites nothing, though that request has ended. */
  #relax(): void {
    if (this.#isSettled && this.holders === 0 && !this.unsaved) this.#resolve = undefined;
  }

  /** An object that was the same at the last look may have been changed since by whoever holds it. */
  #mayHaveChanged(name: string): boolean {
    return (
      this.#values?.has(name) === true &&
      (!this.#clean?.has(name) || typeof this.#values?.get(name) === "object")
    );
  }

  #isUnchanged(name: string): boolean {
    if (!this.#mayHaveChanged(name)) return true;
    try {
      return sameBytes(this.#codec.encode(this.#values?.get(name)), this.#table.get(name));
    } catch {
      return false; // what cannot be encoded is no stored value; the fold of it will say so
    }
  }

  #goOnFrom(state: StoredState | undefined): void {
    this.#stored = state;
    if (state === undefined) return;
    this.node = state.node;
    const { ancestors, writeId } = state;
    // Most versions go on from the one that stands here, and from nothing else.
    const isNext = ancestors === this.#contained;
    this.#contained = isNext
      ? lastOf(ancestors, writeId)
      : lineageOf(this.#contained, [...ancestors, writeId]).slice(-mostContained);
  }

  #noteUnsaved(names: readonly string[]): void {
    this.#unsavedNames = put(this.#unsavedNames, this.#changes, names);
    if (this.#unsavedNames.size <= mostUnsavedChanges) return;
    const [oldest, next] = this.#unsavedNames;
    this.#unsavedNames = put(this.#unsavedNames, next![0], [...new Set([...oldest![1], ...next![1]])]);
    this.#unsavedNames?.delete(oldest![0]);
  }

  /** Another request may hold the object whose place a value takes, and change it yet. */
  #rememberReplaced(name: string, value: unknown): void {
    const replaced = this.#values?.get(name);
    if (replaced === value || typeof replaced !== "object" || replaced === null) return;
    try {
      this.#detached = putWeak(this.#detached, replaced, this.#codec.encode(replaced));
    } catch {
      // What cannot be encoded cannot be saved either: the fold of whoever changed it says so.
    }
  }

  /** An object that was there before stays below: another request may have changed it in place. */
  #noteUnfolded(name: string, value: unknown, by: object): void {
    const current = this.#values?.get(name);
    const others = without(this.#unfolded?.get(name), by);
    const isObject = typeof current === "object" && current !== null;
    const isNoted = others?.value === current || this.#unfolded?.get(name)?.value === current;
    const below = isObject && !isNoted ? new Unfolded(undefined, current, others) : others;
    this.#unfolded = put(this.#unfolded, name, new Unfolded(by, value, below));
  }

  /** Notes that a value need not be what the table's bytes decode to, though it may have been. */
  #spoil(name: string): void {
    this.#decoded?.delete(name);
    this.#clean?.delete(name);
  }

  /** Takes a value out of the session; `bringBack` knows objects again. */
  #drop(name: string): void {
    const value = this.#values?.get(name);
    this.#values?.delete(name);
    this.#unfolded?.delete(name);
    this.#spoil(name);
    if (typeof value === "object" && value !== null)
      this.#detached = putWeak(this.#detached, value, this.#table.get(name));
  }

  /** Where the changes make the session too large, the largest of them are given up until the others would fit. */
  #checkSize(folded: SmallTable, changed: readonly string[], onLost: (name: string) => void): void {
    try {
      checkTableSize(folded, this.#maxTableBytes);
    } catch (error) {
      const sizeOf = (name: string) => folded.get(name)?.length ?? 0;
      for (const name of [...changed].sort((a, b) => sizeOf(b) - sizeOf(a))) {
        if (fits(folded, this.#maxTableBytes)) break;
        const former = this.#table.get(name);
        if (former === undefined) folded.delete(name);
        else folded.set(name, former);
        this.#drop(name);
        onLost(name);
      }
      throw error;
    }
  }

  #foldedBytes(name: string, onLost: (name: string) => void): Uint8Array | undefined {
    try {
      return this.#resolvedBytes(name);
    } catch (error) {
      this.#drop(name);
      onLost(name);
      this.#noteRefusedFold(name, error);
      throw error;
    }
  }

  /** Another request may have assigned it before: what that meets is a conflict though this one's value is gone. */
  #noteRefusedFold(name: string, error: unknown): void {
    if (!(error instanceof MsmError) || error.code !== "MSM_ERR_CONFLICT") return;
    this.#refusals = put(this.#refusals, name, { moment: this.moment, error });
    this.#idleFolds++;
  }

  #resolvedBytes(name: string): Uint8Array | undefined {
    const mine = this.encoded(name);
    if (!this.#contested?.has(name)) return mine;
    const isOverwritten = !sameBytes(this.#contested?.get(name), this.#table.get(name));
    try {
      return this.#resolved(name, mine);
    } finally {
      this.#contested?.delete(name);
      // What `resolve` gives is decoded anew, and theirs stands where it throws.
      if (isOverwritten) this.#values?.delete(name);
    }
  }

  /** What stands of an attribute that a merge may have changed as well. */
  #resolved(name: string, mine: Uint8Array | undefined): Uint8Array | undefined {
    if (!this.#contested?.has(name)) return mine;
    const base = this.#contested?.get(name);
    const theirs = this.#table.get(name);
    if (sameBytes(base, theirs)) return mine;
    if (sameBytes(mine, base) || (mine === undefined && theirs === undefined)) return theirs;
    return this.resolve({ name, base, mine, theirs });
  }
}

// Most sessions need few of their maps: each is made with its first entry.

const put = <K, V>(map: SmallMap<K, V> | undefined, key: K, value: V): SmallMap<K, V> =>
  (map ?? new SmallMap<K, V>()).set(key, value);

const putWeak = <K extends object, V>(map: WeakMap<K, V> | undefined, key: K, value: V): WeakMap<K, V> =>
  (map ?? new WeakMap<K, V>()).set(key, value);

const add = <V>(set: SmallMap<V, true> | undefined, value: V): SmallMap<V, true> => put(set, value, true);

/** Adds to a list that mostly has one name: the first push onto an empty one would make room for many. */
function withOne(names: string[] | undefined, name: string): string[] {
  if (names === undefined) return [name];
  names.push(name);
  return names;
}

/** A line with one write id more, as long as it may be. */
function lastOf(line: readonly string[], writeId: string): readonly string[] {
  const kept = Math.min(line.length, mostContained - 1);
  const next = new Array<string>(kept + 1);
  for (let i = 0; i < kept; i++) next[i] = line[line.length - kept + i]!;
  next[kept] = writeId;
  return next;
}

// What most sessions have is there once for all.

const none: readonly string[] = [];
const places = new Map<string, readonly string[]>();

function onlyOn(node: string): readonly string[] {
  const known = places.get(node);
  if (known !== undefined) return known;
  const made = [node];
  places.set(node, made);
  return made;
}

/** What is left of the values that an attribute was given, without those of one request. */
function without(given: Unfolded | undefined, by: object): Unfolded | undefined {
  if (given === undefined) return undefined;
  const below = without(given.below, by);
  if (given.by === by) return below;
  return below === given.below ? given : new Unfolded(given.by, given.value, below);
}

function fits(table: AttributeTable, mostBytes: number): boolean {
  try {
    checkTableSize(table, mostBytes);
    return true;
  } catch {
    return false; // the caller has the error of the whole
  }
}
