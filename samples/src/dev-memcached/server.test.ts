import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, type Server, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findProgram } from "../cluster/find-program.js";
import { claimPorts, type PortBlock } from "../cluster/port-block.js";
import { opcodes } from "./commands.js";
import { createDevMemcached } from "./server.js";

interface Request {
  readonly opcode: number;
  readonly key?: string;
  readonly value?: string;
  readonly extras?: Buffer;
  readonly cas?: bigint;
}

interface Reply {
  readonly opcode: number;
  readonly status: number;
  readonly extras: string;
  readonly key: string;
  readonly value: string;
  readonly cas: bigint;
}

const program = findProgram("memcached");
const reasonToSkip = program === undefined ? " (skipped: memcached is not installed)" : "";
const withMemcached = describe.skipIf(program === undefined && !process.env.CI);

let dev: Server;

beforeAll(async () => {
  dev = createDevMemcached().listen(0, "127.0.0.1");
  await once(dev, "listening");
});

afterAll(() => dev.close());

const devPort = () => (dev.address() as AddressInfo).port;

withMemcached(`the development memcached beside a real one${reasonToSkip}`, () => {
  let real: ChildProcess;
  let realPort: number;
  let ports: PortBlock;

  beforeAll(async () => {
    ports = await claimPorts();
    realPort = await ports.next();
    const asRoot = process.getuid?.() === 0 ? ["-u", "root"] : [];
    real = spawn(program ?? "memcached", ["-l", "127.0.0.1", "-p", String(realPort), "-U", "0", ...asRoot]);
    await untilListening(realPort);
  });

  afterAll(async () => {
    real.kill("SIGKILL");
    await once(real, "exit");
    await ports.release();
  });

  it.each([1, 2, 3, 4, 5])(
    "answers 1000 random requests as memcached does, byte for byte but for CAS ids (seed %i)",
    async (seed) => {
      const script = randomScript(seed, 1000);

      const [ours, theirs] = await Promise.all([play(devPort(), script), play(realPort, script)]);

      expect(firstDifference(ours, theirs)).toBeUndefined();
    },
  );

  it.each([
    ["a key of 251 bytes", { opcode: opcodes.get, key: "k".repeat(251) }],
    ["a get without a key", { opcode: opcodes.get }],
    ["a set without extras", { opcode: opcodes.set, key: "k", value: "v" }],
    ["a count without extras", { opcode: opcodes.increment, key: "k" }],
    ["a touch without an expiry", { opcode: opcodes.touch, key: "k" }],
    ["a noop with a key", { opcode: opcodes.noop, key: "k" }],
    ["a delete with a value", { opcode: opcodes.delete, key: "k", value: "v" }],
  ])("refuses %s as memcached does, and hangs up", async (_what, request) => {
    const [ours, theirs] = await Promise.all([
      play(devPort(), [() => request]),
      play(realPort, [() => request]),
    ]);

    expect(ours).toEqual(theirs);
    expect(ours.at(-1)).toBe("hung up");
  });

  // Not among the random requests: whether a number that got shorter keeps its place, filled up with blanks, hangs on
  // whether memcached has already let go of the answer before.
  it.each([
    ["18446744073709551615", opcodes.increment],
    ["18446744073709551614", opcodes.increment],
    ["2", opcodes.decrement],
    ["00012", opcodes.decrement],
    ["12  ", opcodes.increment],
    [" 12", opcodes.increment],
    ["-1", opcodes.increment],
    ["1.5", opcodes.increment],
  ])("counts on from %j as memcached does", async (value, opcode) => {
    const script: Step[] = [
      () => store(opcodes.set, "counter", value),
      () => ({ opcode, key: "counter", extras: Buffer.concat([uint64(3n), uint64(0n), uint32(0)]) }),
    ];

    const [ours, theirs] = await Promise.all([play(devPort(), script), play(realPort, script)]);

    expect(ours).toEqual(theirs);
  });

  it("refuses a value over 1 MiB as memcached does, and forgets the old one", async () => {
    const script: Step[] = [
      () => store(opcodes.set, "big", "x".repeat(1000)),
      () => store(opcodes.set, "big", "x".repeat(1024 * 1024)),
      () => ({ opcode: opcodes.get, key: "big" }),
      () => store(opcodes.set, "big", "x".repeat(1024 * 1024 - 200)),
      () => store(opcodes.add, "big2", "x".repeat(1024 * 1024)),
      () => store(opcodes.replace, "big", "x".repeat(1024 * 1024)),
      () => ({ opcode: opcodes.get, key: "big" }),
    ];

    const [ours, theirs] = await Promise.all([play(devPort(), script), play(realPort, script)]);

    expect(ours).toEqual(theirs);
  });
});

describe("the development memcached", () => {
  it("lets an item go when its time is over, and keeps it where it was touched", async () => {
    const connection = await Connection.to(devPort());
    await connection.ask(store(opcodes.set, "short", "v", 1));
    await connection.ask(store(opcodes.set, "renewed", "v", 1));

    await connection.ask({ opcode: opcodes.touch, key: "renewed", extras: uint32(100) });

    await untilGone(connection, "short");
    const [renewed] = await connection.ask({ opcode: opcodes.get, key: "renewed" });
    expect(renewed).toMatchObject({ status: 0, value: "v" });
    connection.end();
  });

  it("understands requests that arrive byte by byte", async () => {
    const connection = await Connection.to(devPort());

    connection.sendByteByByte(store(opcodes.set, "slow", "value"));
    const [answer] = await connection.ask({ opcode: opcodes.get, key: "slow" });

    expect(answer).toMatchObject({ opcode: opcodes.set, status: 0 });
    connection.end();
  });

  it("hangs up on what is not the binary protocol", async () => {
    const socket = connect(devPort(), "127.0.0.1");
    socket.resume();

    socket.write("get k\r\n");

    await once(socket, "close");
  });

  it("counts its items for `stat`", async () => {
    const connection = await Connection.to(devPort());
    await connection.ask({ opcode: opcodes.flush });
    await connection.ask(store(opcodes.set, "one", "1"));

    const answers = (await connection.ask({ opcode: opcodes.stat })) as Reply[];

    expect(answers.find((each) => each.key === "curr_items")?.value).toBe("1");
    expect(answers.at(-1)).toMatchObject({ key: "", value: "" });
    connection.end();
  });
});

/** Makes a request, given the last CAS id that was seen for each key. */
type Step = (cas: ReadonlyMap<string, bigint>) => Request;

/** Plays a script on one connection, from an empty server. CAS ids become the order in which they were first seen. */
async function play(port: number, script: readonly Step[]): Promise<unknown[]> {
  const connection = await Connection.to(port);
  await connection.ask({ opcode: opcodes.flush });
  const lastCas = new Map<string, bigint>();
  const seen = new Map<bigint, number>([[0n, 0]]);
  const replies: unknown[] = [];
  for (const step of script) {
    const request = step(lastCas);
    for (const reply of await connection.ask(request)) {
      if (reply === "hung up") return [...replies, reply];
      if (!seen.has(reply.cas)) seen.set(reply.cas, seen.size);
      if (request.key !== undefined && reply.cas !== 0n) lastCas.set(request.key, reply.cas);
      replies.push({ ...reply, cas: seen.get(reply.cas), to: describeRequest(request) });
    }
  }
  connection.end();
  return replies;
}

const describeRequest = ({ opcode, key, value, extras }: Request) =>
  `0x${opcode.toString(16)} ${key ?? ""} ${value?.slice(0, 20) ?? ""} ${extras?.toString("hex") ?? ""}`;

/** Where two plays part, with the three replies before it. A whole play would be too long to read. */
function firstDifference(ours: readonly unknown[], theirs: readonly unknown[]): unknown {
  const length = Math.max(ours.length, theirs.length);
  for (let at = 0; at < length; at += 1) {
    if (!isDeepStrictEqual(ours[at], theirs[at])) {
      return { at, before: ours.slice(Math.max(0, at - 3), at), ours: ours[at], theirs: theirs[at] };
    }
  }
  return undefined;
}

function randomScript(seed: number, length: number): Step[] {
  const random = randomNumbers(seed);
  const oneOf = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const known = Object.values(opcodes).filter(
    (opcode) =>
      ![opcodes.quit, opcodes.quitQuietly, opcodes.stat, opcodes.version].some((other) => other === opcode),
  );
  return Array.from({ length }, () => {
    const opcode = oneOf(known);
    const key = oneOf(["a", "b", "c", "bytes\0 \r\n\xff"]);
    const value = oneOf(["", "5000", "text", "v".repeat(3000), "18446744073709551616"]);
    const expirySeconds = oneOf([0, 0, 0, 1000, 0xffffffff, 2_592_001]);
    const casKind = random();
    return (lastCas) => {
      const cas = casKind < 0.5 ? 0n : (lastCas.get(key) ?? 0n) + (casKind < 0.8 ? 0n : 1000n);
      return build(opcode, key, value, expirySeconds, cas);
    };
  });
}

function build(opcode: number, key: string, value: string, expirySeconds: number, cas: bigint): Request {
  switch (opcode) {
    case opcodes.set:
    case opcodes.setQuietly:
    case opcodes.add:
    case opcodes.addQuietly:
    case opcodes.replace:
    case opcodes.replaceQuietly:
      return { ...store(opcode, key, value, expirySeconds), cas };
    case opcodes.increment:
    case opcodes.incrementQuietly:
    case opcodes.decrement:
    case opcodes.decrementQuietly:
      return { opcode, key, extras: Buffer.concat([uint64(3n), uint64(4000n), uint32(expirySeconds)]), cas };
    case opcodes.append:
    case opcodes.appendQuietly:
    case opcodes.prepend:
    case opcodes.prependQuietly:
      return { opcode, key, value, cas };
    case opcodes.touch:
    case opcodes.getAndTouch:
    case opcodes.getAndTouchQuietly:
      return { opcode, key, extras: uint32(expirySeconds) };
    case opcodes.delete:
    case opcodes.deleteQuietly:
      return { opcode, key, cas };
    case opcodes.get:
    case opcodes.getQuietly:
    case opcodes.getWithKey:
    case opcodes.getWithKeyQuietly:
      return { opcode, key };
    default:
      return { opcode };
  }
}

function store(opcode: number, key: string, value: string, expirySeconds = 0): Request {
  return { opcode, key, value, extras: Buffer.concat([uint32(42), uint32(expirySeconds)]) };
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function uint64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

/** Mulberry32: the same numbers for the same seed. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A client that knows nothing of the server's code: it reads and writes bytes as the protocol's description says. */
class Connection {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #isOver = false;
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#wake();
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.#isOver = true;
      this.#wake();
    });
  }

  static async to(port: number): Promise<Connection> {
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    return new Connection(socket);
  }

  /** Sends a request, and a noop behind it whose answer tells that there is no other. */
  async ask(request: Request): Promise<(Reply | "hung up")[]> {
    this.#socket.write(Buffer.concat([encode(request, 1), encode({ opcode: opcodes.noop }, 2)]));
    const replies: (Reply | "hung up")[] = [];
    for (;;) {
      const reply = await this.#next();
      if (reply === "hung up") return [...replies, reply];
      if (reply.opaque === 2) return replies;
      const { opaque: _, ...rest } = reply;
      replies.push(rest);
    }
  }

  sendByteByByte(request: Request): void {
    this.#socket.setNoDelay();
    for (const byte of encode(request, 1)) this.#socket.write(Buffer.from([byte]));
  }

  end(): void {
    this.#socket.destroy();
  }

  async #next(): Promise<(Reply & { opaque: number }) | "hung up"> {
    for (;;) {
      const reply = this.#take();
      if (reply) return reply;
      if (this.#isOver) return "hung up";
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #take(): (Reply & { opaque: number }) | undefined {
    const bytes = this.#received;
    if (bytes.length < 24) return undefined;
    const end = 24 + bytes.readUInt32BE(8);
    if (bytes.length < end) return undefined;
    this.#received = bytes.subarray(end);
    const keyStart = 24 + bytes.readUInt8(4);
    const valueStart = keyStart + bytes.readUInt16BE(2);
    return {
      opcode: bytes.readUInt8(1),
      status: bytes.readUInt16BE(6),
      opaque: bytes.readUInt32BE(12),
      cas: bytes.readBigUInt64BE(16),
      extras: bytes.toString("hex", 24, keyStart),
      key: bytes.toString("latin1", keyStart, valueStart),
      value: bytes.toString("latin1", valueStart, end),
    };
  }
}

function encode(request: Request, opaque: number): Buffer {
  const key = Buffer.from(request.key ?? "", "latin1");
  const value = Buffer.from(request.value ?? "", "latin1");
  const extras = request.extras ?? Buffer.alloc(0);
  const header = Buffer.alloc(24);
  header[0] = 0x80;
  header[1] = request.opcode;
  header.writeUInt16BE(key.length, 2);
  header[4] = extras.length;
  header.writeUInt32BE(extras.length + key.length + value.length, 8);
  header.writeUInt32BE(opaque, 12);
  header.writeBigUInt64BE(request.cas ?? 0n, 16);
  return Buffer.concat([header, extras, key, value]);
}

async function untilListening(port: number): Promise<void> {
  for (const end = Date.now() + 10_000; Date.now() < end; await wait(20)) {
    const socket = connect(port, "127.0.0.1");
    const isThere = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    socket.destroy();
    if (isThere) return;
  }
  throw new Error(`nothing listens on port ${port} after 10 s`);
}

async function untilGone(connection: Connection, key: string): Promise<void> {
  for (const end = Date.now() + 10_000; Date.now() < end; await wait(50)) {
    const [answer] = await connection.ask({ opcode: opcodes.get, key });
    if (answer !== "hung up" && answer?.status === 1) return;
  }
  throw new Error(`"${key}" is still there after 10 s`);
}
