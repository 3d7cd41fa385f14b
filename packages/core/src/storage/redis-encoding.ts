import type { Command } from "ioredis";

/** What is used of ioredis. */
export type RedisLibrary = Pick<typeof import("ioredis"), "Redis" | "Command">;

/** Makes commands for ioredis that are written in one piece, see `encodedCommand`. Their replies' texts are buffers. */
export type WholeCommand = new (name: string, parts: readonly (string | Buffer)[]) => Command;

const made = new WeakMap<RedisLibrary, WholeCommand>();

/** The class for a copy of ioredis, which is not loaded before it is needed. */
export function wholeCommandOf(library: RedisLibrary): WholeCommand {
  const known = made.get(library);
  if (known !== undefined) return known;
  const wholeCommand = class extends library.Command {
    readonly #parts: readonly (string | Buffer)[];

    constructor(name: string, parts: readonly (string | Buffer)[]) {
      super(name, [], { replyEncoding: null });
      this.#parts = parts;
    }

    override toWritable(): Buffer {
      return encodedCommand(this.name, this.#parts);
    }
  };
  made.set(library, wholeCommand);
  return wholeCommand;
}

/**
 * A command in Redis' protocol (RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec): an array of texts, each
 * with its length. In one buffer, as ioredis makes one of each text, and then another of all.
 * @param parts texts of one byte per character, and bytes
 */
export function encodedCommand(name: string, parts: readonly (string | Buffer)[]): Buffer {
  const count = parts.length + 1;
  let length = lengthOfHead(count) + lengthOfPart(name);
  for (const part of parts) length += lengthOfPart(part);
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  let text = `*${count}\r\n$${name.length}\r\n${name}\r\n`;
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

/** A kind's sign, a number, and the end of the line. */
function lengthOfHead(count: number): number {
  let digits = 1;
  for (let left = count; left >= 10; left /= 10) digits++;
  return 1 + digits + 2;
}

const lengthOfPart = ({ length }: string | Buffer): number => lengthOfHead(length) + length + 2;
