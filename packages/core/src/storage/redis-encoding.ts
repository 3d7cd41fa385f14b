import type { Command } from "ioredis";

/** What is used of ioredis. */
export type RedisLibrary = Pick<typeof import("ioredis"), "Redis" | "Command">;

/** Makes commands for ioredis that are written in one piece, see `encodedCommand`. Their replies' texts are buffers. */
export type WholeCommand = new (name: string, head: string, parts: readonly (string | Buffer)[]) => Command;

const made = new WeakMap<RedisLibrary, WholeCommand>();

// Once for all.
const noArguments: [] = [];
const asBuffers = { replyEncoding: null };

/** The class for a copy of ioredis, which is not loaded before it is needed. */
export function wholeCommandOf(library: RedisLibrary): WholeCommand {
  const known = made.get(library);
  if (known !== undefined) return known;
  const wholeCommand = class extends library.Command {
    readonly #head: string;
    readonly #parts: readonly (string | Buffer)[];

    constructor(name: string, head: string, parts: readonly (string | Buffer)[]) {
      super(name, noArguments, asBuffers);
      this.#head = head;
      this.#parts = parts;
    }

    override toWritable(): Buffer {
      return encodedCommand(this.#head, this.#parts);
    }
  };
  made.set(library, wholeCommand);
  return wholeCommand;
}

/**
 * How a command begins, see `encodedCommand`.
 * @param more how many parts follow the first ones
 */
export function commandHead(more: number, ...first: readonly string[]): string {
  let head = `*${first.length + more}\r\n`;
  for (const part of first) head += `$${part.length}\r\n${part}\r\n`;
  return head;
}

/**
 * A command in Redis' protocol (RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec): an array of texts, each
 * with its length. In one buffer, as ioredis makes one of each text, and then another of all.
 * @param head what `commandHead` made for these parts
 * @param parts texts of one byte per character, and bytes
 */
export function encodedCommand(head: string, parts: readonly (string | Buffer)[]): Buffer {
  let { length } = head;
  for (const part of parts) length += lengthOfPart(part.length);
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  let text = head;
  for (const part of parts) {
    text += `$${part.length}\r\n`;
    if (typeof part === "string") text += `${part}\r\n`;
    else {
      at += bytes.write(text, at, "latin1");
      bytes.set(part, at);
      at += part.length;
      text = "\r\n";
    }
  }
  bytes.write(text, at, "latin1");
  return bytes;
}

/** How many bytes a part of so many bytes takes, with its sign, its length, and the ends of both lines. */
function lengthOfPart(bytes: number): number {
  let digits = 1;
  for (let left = bytes; left >= 10; left /= 10) digits++;
  return 1 + digits + 2 + bytes + 2;
}
