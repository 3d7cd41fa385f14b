import { MsmError } from "../errors.js";
import type { Command } from "./command-sender.js";
import {
  expiry,
  type MemcachedAnswer,
  type MemcachedReply,
  type MemcachedRequest,
} from "./memcached-requests.js";

/**
 * memcached's text protocol, with its meta commands: lines that end in CR LF, values with their length before them.
 * Sources: https://github.com/memcached/memcached/blob/master/doc/protocol.txt,
 * https://github.com/memcached/memcached/wiki/MetaCommands
 */
const lineEnd = "\r\n";

/** memcached's own lines are far shorter; whoever sends a longer one is no memcached. */
const maxLineBytes = 1024;

/** No session is larger. Also refused when it is to be written, as it could never be read. */
const maxValueBytes = 64 * 1024 * 1024;

/** memcached reads times as signed numbers of 32 bits here; a larger one would be over before it began. */
const latestExpiry = 0x7fffffff;

/** What is no key to the text protocol could be a command. */
const keyPattern = /^[!-~]{1,250}$/;

/** One request on the wire: its commands, and what the lines mean that answer it. */
export interface MetaExchange {
  /** Each whole, with its end. */
  readonly commands: readonly Command[];
  /**
   * Takes the next line that the server sends.
   * @returns the reply; undefined while another line belongs to it
   * @throws MsmError where the line answers something else; the connection is of no use then
   */
  accept(line: MetaLine): MemcachedReply | undefined;
}

/**
 * A request in the text protocol.
 *
 * Records and leases are written with `add` and `cas`, not with the meta command `ms`: where that is refused, as too large
 * or for want of memory, memcached deletes what was there, even under another CAS id. They do not tell the
 * CAS id, so `mg` asks for it in the same go. Another may have written in between: the number of the request, which
 * stands in the item's flags, tells whose it is.
 *
 * @param number of 32 bits, not 0, at random for each connection and counted on from request to request. It comes back with
 * the reply (as the "opaque")
 * @throws MsmError MSM_ERR_STORAGE_REFUSED for a key or a value that cannot be sent
 */
export function metaExchange(request: MemcachedRequest, number: number): MetaExchange {
  const opaque = `O${number}`;
  if (request.verb === "ping") return { commands: [commandLine("mn")], accept: (reply) => pong(reply) };
  const key = checkedKey(request.key);
  switch (request.verb) {
    case "get":
      return read(`mg ${key} v c`, opaque);
    case "getAndTouch":
      return read(`mg ${key} v c T${metaExpiry(request.ttlMs)}`, opaque);
    case "touch":
      return simple(commandLine(`mg ${key} T${metaExpiry(request.ttlMs)} ${opaque}`), opaque);
    case "delete":
      return simple(
        commandLine(`md ${key} ${request.cas === 0n ? "" : `C${request.cas} `}${opaque}`),
        opaque,
      );
    case "set": {
      const head = `ms ${key} ${sizeOf(request.value)} T${metaExpiry(request.ttlMs)} ${opaque}`;
      return simple(commandWithValue(head, request.value), opaque);
    }
    case "add":
      return write(`add ${key}`, request, "", number);
    case "replace":
      return request.cas === 0n
        ? write(`replace ${key}`, request, "", number)
        : write(`cas ${key}`, request, ` ${request.cas}`, number);
  }
}

const metaExpiry = (ttlMs: number) => Math.min(expiry(ttlMs), latestExpiry);

function checkedKey(key: string): string {
  if (keyPattern.test(key)) return key;
  throw new MsmError("MSM_ERR_STORAGE_REFUSED", "memcached takes keys of 1 to 250 visible ASCII characters");
}

function sizeOf(value: Uint8Array): number {
  if (value.length <= maxValueBytes) return value.length;
  throw new MsmError("MSM_ERR_STORAGE_REFUSED", `a record may have up to ${maxValueBytes} bytes`);
}

const commandLine = (text: string): Command => [text + lineEnd];

const commandWithValue = (text: string, value: Uint8Array): Command => [text + lineEnd, value, lineEnd];

const nothing: Buffer = Buffer.alloc(0);

const answer = (status: MemcachedAnswer["status"], cas?: bigint, value = nothing): MemcachedAnswer => ({
  status,
  cas,
  value,
});

function pong(line: MetaLine): MemcachedReply {
  if (line.text === "MN") return answer("ok");
  return troubleIn(line) ?? fail(line);
}

function read(command: string, opaque: string): MetaExchange {
  return {
    commands: [commandLine(`${command} ${opaque}`)],
    accept(reply) {
      const trouble = troubleIn(reply);
      if (trouble) return trouble;
      const [code, ...tokens] = reply.text.split(" ");
      checkOpaque(tokens, opaque);
      if (code === "EN" && !reply.value) return answer("notFound");
      if (code === "VA" && reply.value) return answer("ok", casIn(tokens), reply.value);
      return fail(reply);
    },
  };
}

const simple = (command: Command, opaque: string): MetaExchange => ({
  commands: [command],
  accept: (reply) => statusIn(reply, opaque),
});

const metaStatus: Readonly<Record<string, MemcachedAnswer["status"]>> = {
  HD: "ok",
  EN: "notFound",
  NF: "notFound",
  EX: "exists",
  NS: "notStored",
};

function statusIn(line: MetaLine, opaque: string): MemcachedReply {
  const trouble = troubleIn(line);
  if (trouble) return trouble;
  const [code = "", ...tokens] = line.text.split(" ");
  const status = metaStatus[code];
  if (!status || line.value) return fail(line);
  checkOpaque(tokens, opaque);
  return answer(status);
}

const writeStatus: Readonly<Record<string, MemcachedAnswer["status"]>> = {
  STORED: "ok",
  NOT_STORED: "notStored",
  EXISTS: "exists",
  NOT_FOUND: "notFound",
};

interface Write {
  readonly key: string;
  readonly value: Uint8Array;
  readonly ttlMs: number;
}

/** Two lines come back: what became of the write, and the CAS id of what is there. */
function write(command: string, { key, value, ttlMs }: Write, cas: string, number: number): MetaExchange {
  const head = `${command} ${number} ${metaExpiry(ttlMs)} ${sizeOf(value)}${cas}`;
  const question = `mg ${key} c f O${number}`;
  let written: MemcachedReply | undefined;
  return {
    commands: [commandWithValue(head, value), commandLine(question)],
    accept(reply) {
      if (!written) {
        const status = writeStatus[reply.text];
        written = status ? answer(status) : (troubleIn(reply) ?? fail(reply));
        return undefined;
      }
      const casThere = casWrittenBy(number, reply);
      return written.status === "ok" ? answer("ok", casThere) : written;
    },
  };
}

/** The CAS id of what is there, as long as it is what the request with this number wrote. */
function casWrittenBy(number: number, line: MetaLine): bigint | undefined {
  if (troubleIn(line)) return undefined;
  const [code, ...tokens] = line.text.split(" ");
  checkOpaque(tokens, `O${number}`);
  if (code === "EN") return undefined;
  if (code !== "HD" || line.value) return fail(line);
  return tokens.includes(`f${number}`) ? casIn(tokens) : undefined;
}

function casIn(tokens: readonly string[]): bigint {
  const token = tokens.find((one) => one.startsWith("c"));
  if (token === undefined || !/^c\d{1,20}$/.test(token)) throw nonsense("a reply has no CAS id");
  return BigInt(token.slice(1));
}

function checkOpaque(tokens: readonly string[], opaque: string): void {
  if (!tokens.includes(opaque)) throw nonsense("a reply answers another request");
}

/**
 * What a line says that begins with an error. One of the server's is about its request only. The client's are none that a
 * memcached gives to what is sent here, and nobody knows what it makes of the bytes behind.
 */
function troubleIn({ text }: MetaLine): MemcachedReply | undefined {
  if (text.startsWith("SERVER_ERROR")) return { status: "trouble", error: serverError(text) };
  if (text === "CLIENT_ERROR unauthenticated") throw unauthenticated();
  if (text === "ERROR") throw nonsense("it knows no meta commands, which came with memcached 1.6");
  if (text.startsWith("CLIENT_ERROR")) throw nonsense(`it answers ${JSON.stringify(shortened(text))}`);
  return undefined;
}

function serverError(text: string): MsmError {
  const isRefusal = /too large|out of memory/.exec(text);
  if (isRefusal)
    return new MsmError("MSM_ERR_STORAGE_REFUSED", `memcached refuses the record: ${isRefusal[0]}`);
  return new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", `memcached answers ${JSON.stringify(shortened(text))}`);
}

const shortened = (text: string) => text.slice(0, 100);

const unauthenticated = () =>
  new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "memcached wants a user name and a password");

/**
 * What a server that was started with `-Y` wants to see first. Another one takes it for a record, so its time is over before
 * it began: no password stays there.
 */
export function authentication(username: string, password: string): Command {
  const credentials = Buffer.from(`${username} ${password}`);
  return commandWithValue(`set msm 0 -1 ${credentials.length}`, credentials);
}

/** Reads the answer to `authentication()`. @throws MsmError where it is no welcome; never with what was sent */
export function checkWelcome({ text }: MetaLine): void {
  if (text === "STORED") return;
  if (text.startsWith("CLIENT_ERROR")) {
    throw new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "memcached refuses the user name or the password");
  }
  if (text.startsWith("SERVER_ERROR")) {
    throw new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "memcached has an error where it should let us in");
  }
  throw nonsense("it answers something else to a user name and a password");
}

/** A line of a reply, without its end, and the value that followed where the line announced one. */
export interface MetaLine {
  readonly text: string;
  readonly value?: Buffer;
}

/** Puts lines together from the chunks that a socket gives. One per connection: half a line ends with it. */
export class MetaReader {
  #chunks: Buffer[] = [];
  #bytes = 0;
  #wantedBytes = 1;

  /** Whether all that was read so far was whole. */
  get isAtEnd(): boolean {
    return this.#bytes === 0;
  }

  /**
   * Takes the next chunk.
   * @returns the lines that are complete with it
   * @throws MsmError MSM_ERR_STORAGE_PROTOCOL where the bytes are no lines of memcached; the connection is of no use then
   */
  read(chunk: Buffer): MetaLine[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < this.#wantedBytes) return [];
    return this.#parse(this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#bytes));
  }

  #parse(bytes: Buffer): MetaLine[] {
    const lines: MetaLine[] = [];
    let offset = 0;
    let wantedBytes = 1;
    while (offset < bytes.length) {
      const found = lineAt(bytes, offset);
      if ("wantedBytes" in found) {
        wantedBytes = found.wantedBytes;
        break;
      }
      lines.push(found.line);
      offset = found.end;
    }
    this.#chunks = offset < bytes.length ? [bytes.subarray(offset)] : [];
    this.#bytes = bytes.length - offset;
    this.#wantedBytes = wantedBytes;
    return lines;
  }
}

/** The line that begins at `offset`, and where it ends; or how many bytes it takes at least, where it is not whole. */
function lineAt(
  bytes: Buffer,
  offset: number,
): { readonly line: MetaLine; readonly end: number } | { readonly wantedBytes: number } {
  const newline = bytes.indexOf(0x0a, offset);
  const end = newline === -1 ? bytes.length : newline + 1;
  if (end - offset > maxLineBytes) throw nonsense("a line is longer than any of its");
  const text = bytes.toString("latin1", offset, end);
  if (newline === -1) {
    if (!/^[ -~]*\r?$/.test(text)) throw nonsense("a line has other characters than any of its");
    return { wantedBytes: text.length + 1 };
  }
  if (!/^[ -~]+\r\n$/.test(text)) throw nonsense("a line has other characters than any of its");
  const line = text.slice(0, -lineEnd.length);
  const valueBytes = announcedBytes(line);
  if (valueBytes === undefined) return { line: { text: line }, end };
  const whole = end + valueBytes + lineEnd.length;
  if (whole > bytes.length) return { wantedBytes: whole - offset };
  if (bytes.toString("latin1", whole - lineEnd.length, whole) !== lineEnd)
    throw nonsense("a value does not end where it should");
  return { line: { text: line, value: bytes.subarray(end, end + valueBytes) }, end: whole };
}

/** The length of the value behind a line; undefined where none follows. */
function announcedBytes(line: string): number | undefined {
  if (line !== "VA" && !line.startsWith("VA ")) return undefined;
  const digits = /^VA (\d{1,10})(?: |$)/.exec(line)?.[1];
  if (digits === undefined) throw nonsense("a value has no length");
  const bytes = Number(digits);
  if (bytes > maxValueBytes) throw nonsense("a value is larger than any record");
  return bytes;
}

function fail(line: MetaLine): never {
  throw nonsense(`it answers ${JSON.stringify(shortened(line.text.split(" ")[0] ?? ""))}`);
}

/** @param what without anything that was sent */
export function nonsense(what: string): MsmError {
  return new MsmError("MSM_ERR_STORAGE_PROTOCOL", `this is not memcached's meta protocol: ${what}`);
}
