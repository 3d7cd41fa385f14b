import type { Answer, RequestFrame } from "./frames.js";
import type { Items } from "./items.js";

/** What becomes of a request: its answers, in order; with `hangUp`, the connection ends after them. */
export interface Outcome {
  readonly answers: readonly Answer[];
  readonly hangUp?: boolean;
}

/** The commands of the binary protocol that this server knows. */
export const opcodes = {
  get: 0x00,
  set: 0x01,
  add: 0x02,
  replace: 0x03,
  delete: 0x04,
  increment: 0x05,
  decrement: 0x06,
  quit: 0x07,
  flush: 0x08,
  getQuietly: 0x09,
  noop: 0x0a,
  version: 0x0b,
  getWithKey: 0x0c,
  getWithKeyQuietly: 0x0d,
  append: 0x0e,
  prepend: 0x0f,
  stat: 0x10,
  setQuietly: 0x11,
  addQuietly: 0x12,
  replaceQuietly: 0x13,
  deleteQuietly: 0x14,
  incrementQuietly: 0x15,
  decrementQuietly: 0x16,
  quitQuietly: 0x17,
  flushQuietly: 0x18,
  appendQuietly: 0x19,
  prependQuietly: 0x1a,
  touch: 0x1c,
  getAndTouch: 0x1d,
  getAndTouchQuietly: 0x1e,
} as const;

const status = {
  ok: 0x00,
  notFound: 0x01,
  exists: 0x02,
  tooLarge: 0x03,
  invalid: 0x04,
  notStored: 0x05,
  notANumber: 0x06,
  unknownCommand: 0x81,
} as const;

// memcached's own words, which clients show.
const words: Record<number, string> = {
  [status.notFound]: "Not found",
  [status.exists]: "Data exists for key.",
  [status.tooLarge]: "Too large.",
  [status.invalid]: "Invalid arguments",
  [status.notStored]: "Not stored.",
  [status.notANumber]: "Non-numeric server-side value for incr or decr",
  [status.unknownCommand]: "Unknown command",
};

const maxKeyBytes = 250;
const maxItemBytes = 1024 * 1024;
// What memcached keeps beside key and value in the 1 MiB that an item may have.
const itemOverheadBytes = 64;
const maxUint64 = 2n ** 64n - 1n;
// An expiry that says: count only where there is a counter, make none.
const neverCreate = 0xffffffff;
const allowedExtras = { store: [8], count: [20], touch: [4], flush: [0, 4], none: [0] } as const;

type Command = (request: RequestFrame, items: Items) => Outcome;

interface Entry {
  readonly run: Command;
  readonly extras: readonly number[];
  readonly takesKey: boolean;
  readonly takesValue: boolean;
  /** The status of an answer that the client does not want to see. */
  readonly silentOn?: number;
}

/** Carries out one request. */
export function answer(request: RequestFrame, items: Items): Outcome {
  const entry = entries.get(request.opcode);
  if (entry === undefined) return failed(status.unknownCommand);
  if (!isWellFormed(request, entry)) return { ...failed(status.invalid), hangUp: true };

  const outcome = entry.run(request, items);
  return { ...outcome, answers: outcome.answers.filter((each) => each.status !== entry.silentOn) };
}

function isWellFormed(request: RequestFrame, entry: Entry): boolean {
  const hasKey = request.key.length > 0;
  return (
    entry.extras.includes(request.extras.length) &&
    request.key.length <= maxKeyBytes &&
    hasKey === entry.takesKey &&
    (entry.takesValue || request.value.length === 0)
  );
}

const done = (given: Omit<Answer, "status"> = {}): Outcome => ({
  answers: [{ status: status.ok, ...given }],
});

const failed = (code: number): Outcome => ({
  answers: [{ status: code, value: Buffer.from(words[code] ?? "") }],
});

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

const get: Command = ({ key }, items) => {
  const item = items.get(key);
  return item
    ? done({ extras: uint32(item.flags), value: item.value, cas: item.cas })
    : failed(status.notFound);
};

const getWithKey: Command = ({ key }, items) => {
  const item = items.get(key);
  // A miss carries the key instead of words, so that the client knows which of its keys is meant.
  if (!item) return { answers: [{ status: status.notFound, key }] };
  return done({ extras: uint32(item.flags), key, value: item.value, cas: item.cas });
};

const touch: Command = ({ key, extras }, items) => {
  const item = items.get(key);
  if (!item) return failed(status.notFound);
  items.touch(item, extras.readUInt32BE(0));
  return done({ extras: uint32(item.flags), cas: item.cas });
};

const getAndTouch: Command = (request, items) => {
  // Read first: an expiry in the past gives the value one last time.
  const outcome = get(request, items);
  const item = items.get(request.key);
  if (item) items.touch(item, request.extras.readUInt32BE(0));
  return outcome;
};

const isTooLarge = (key: string, valueBytes: number) =>
  key.length + valueBytes + itemOverheadBytes > maxItemBytes;

const set: Command = (request, items) => {
  const { key, value, extras, cas } = request;
  if (isTooLarge(key, value.length)) {
    // memcached drops the old value as well, so that nobody goes on reading what was meant to be overwritten.
    items.delete(key);
    return failed(status.tooLarge);
  }
  if (cas !== 0n) {
    const item = items.get(key);
    if (!item) return failed(status.notFound);
    if (item.cas !== cas) return failed(status.exists);
  }
  return done({ cas: items.put(key, value, extras.readUInt32BE(0), extras.readUInt32BE(4)).cas });
};

const add: Command = (request, items) => {
  if (isTooLarge(request.key, request.value.length)) return failed(status.tooLarge);
  // With a CAS id, memcached compares that and nothing else, whatever the command is called.
  if (request.cas === 0n && items.get(request.key)) return failed(status.exists);
  return set(request, items);
};

const replace: Command = (request, items) => {
  if (isTooLarge(request.key, request.value.length)) return failed(status.tooLarge);
  if (!items.get(request.key)) return failed(status.notFound);
  return set(request, items);
};

const remove: Command = ({ key, cas }, items) => {
  const item = items.get(key);
  if (!item) return failed(status.notFound);
  if (cas !== 0n && item.cas !== cas) return failed(status.exists);
  items.delete(key);
  return done();
};

const join =
  (joined: (stored: Buffer, added: Buffer) => Buffer[]): Command =>
  ({ key, value, cas }, items) => {
    const item = items.get(key);
    if (!item) return failed(status.notStored);
    if (cas !== 0n && item.cas !== cas) return failed(status.exists);
    if (isTooLarge(key, item.value.length + value.length)) return failed(status.tooLarge);
    return done({ cas: items.change(key, item, Buffer.concat(joined(item.value, value))).cas });
  };

const count =
  (counted: (stored: bigint, by: bigint) => bigint): Command =>
  ({ key, extras, cas }, items) => {
    const by = extras.readBigUInt64BE(0);
    const item = items.get(key);
    if (!item) return startCounter(key, extras, items);
    // memcached looks at the length before the CAS id, and at the digits after it.
    if (item.value.length === 0) return failed(status.notANumber);
    if (cas !== 0n && item.cas !== cas) return failed(status.exists);
    const stored = numberIn(item.value);
    if (stored === undefined) return failed(status.notANumber);
    const total = counted(stored, by);
    // A number that got shorter keeps its place, filled up with blanks, as memcached writes into the old item.
    const digits = String(total).padEnd(item.value.length, " ");
    return done({ value: uint64(total), cas: items.change(key, item, Buffer.from(digits)).cas });
  };

function numberIn(value: Buffer): bigint | undefined {
  const text = value.toString("latin1");
  if (!/^ *\d{1,20} *$/.test(text)) return undefined;
  const number = BigInt(text);
  return number <= maxUint64 ? number : undefined;
}

function startCounter(key: string, extras: Buffer, items: Items): Outcome {
  const expirySeconds = extras.readUInt32BE(16);
  if (expirySeconds === neverCreate) return failed(status.notFound);
  const initial = extras.readBigUInt64BE(8);
  const item = items.put(key, Buffer.from(String(initial)), 0, expirySeconds);
  return done({ value: uint64(initial), cas: item.cas });
}

const uint64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
};

const increment = count((stored, by) => BigInt.asUintN(64, stored + by));
const decrement = count((stored, by) => (stored > by ? stored - by : 0n));

const flush: Command = (_request, items) => {
  items.clear();
  return done();
};

const stat: Command = (_request, items) => ({
  answers: [
    ...Object.entries({ pid: process.pid, version: devVersion, curr_items: items.sweep() }).map(
      ([key, value]) => ({
        status: status.ok,
        key,
        value: Buffer.from(String(value)),
      }),
    ),
    // An empty answer ends the list.
    { status: status.ok },
  ],
});

/** What the server calls itself: what it does is what memcached 1.6 does. */
const devVersion = "1.6.0-dev";

const quit: Command = () => ({ ...done(), hangUp: true });

const silentOnSuccess = status.ok;
const silentOnMiss = status.notFound;

const onKey = (run: Command, extras: readonly number[], silentOn?: number): Entry => ({
  run,
  extras,
  takesKey: true,
  takesValue: false,
  ...(silentOn === undefined ? {} : { silentOn }),
});
const onValue = (run: Command, extras: readonly number[], silentOn?: number): Entry => ({
  ...onKey(run, extras, silentOn),
  takesValue: true,
});
const onServer = (
  run: Command,
  extras: readonly number[] = allowedExtras.none,
  silentOn?: number,
): Entry => ({
  ...onKey(run, extras, silentOn),
  takesKey: false,
});

const append = join((stored, added) => [stored, added]);
const prepend = join((stored, added) => [added, stored]);

const entries = new Map<number, Entry>([
  [opcodes.get, onKey(get, allowedExtras.none)],
  [opcodes.getQuietly, onKey(get, allowedExtras.none, silentOnMiss)],
  [opcodes.getWithKey, onKey(getWithKey, allowedExtras.none)],
  [opcodes.getWithKeyQuietly, onKey(getWithKey, allowedExtras.none, silentOnMiss)],
  [opcodes.set, onValue(set, allowedExtras.store)],
  [opcodes.setQuietly, onValue(set, allowedExtras.store, silentOnSuccess)],
  [opcodes.add, onValue(add, allowedExtras.store)],
  [opcodes.addQuietly, onValue(add, allowedExtras.store, silentOnSuccess)],
  [opcodes.replace, onValue(replace, allowedExtras.store)],
  [opcodes.replaceQuietly, onValue(replace, allowedExtras.store, silentOnSuccess)],
  [opcodes.delete, onKey(remove, allowedExtras.none)],
  [opcodes.deleteQuietly, onKey(remove, allowedExtras.none, silentOnSuccess)],
  [opcodes.increment, onKey(increment, allowedExtras.count)],
  [opcodes.incrementQuietly, onKey(increment, allowedExtras.count, silentOnSuccess)],
  [opcodes.decrement, onKey(decrement, allowedExtras.count)],
  [opcodes.decrementQuietly, onKey(decrement, allowedExtras.count, silentOnSuccess)],
  [opcodes.append, onValue(append, allowedExtras.none)],
  [opcodes.appendQuietly, onValue(append, allowedExtras.none, silentOnSuccess)],
  [opcodes.prepend, onValue(prepend, allowedExtras.none)],
  [opcodes.prependQuietly, onValue(prepend, allowedExtras.none, silentOnSuccess)],
  [opcodes.touch, onKey(touch, allowedExtras.touch)],
  [opcodes.getAndTouch, onKey(getAndTouch, allowedExtras.touch)],
  [opcodes.getAndTouchQuietly, onKey(getAndTouch, allowedExtras.touch, silentOnMiss)],
  [opcodes.flush, onServer(flush, allowedExtras.flush)],
  [opcodes.flushQuietly, onServer(flush, allowedExtras.flush, silentOnSuccess)],
  [opcodes.noop, onServer(() => done())],
  [opcodes.version, onServer(() => done({ value: Buffer.from(devVersion) }))],
  [opcodes.stat, onServer(stat)],
  [opcodes.quit, onServer(quit)],
  [opcodes.quitQuietly, onServer(quit, allowedExtras.none, silentOnSuccess)],
]);
