import { connect } from "node:net";
import type { StorageKind } from "./storage.js";

const timeoutMs = 1000;

/**
 * Asks a storage node how many records it holds.
 * @throws Error where it does not answer within a second
 */
export async function countRecords(kind: StorageKind, port: number): Promise<number> {
  return kind === "redis"
    ? await ask(port, redisQuestion, redisCount)
    : await ask(port, memcachedQuestion, memcachedCount);
}

const redisQuestion = Buffer.from("DBSIZE\r\n");

function redisCount(answer: Buffer): number | undefined {
  const [, count] = /^:(\d+)\r\n/.exec(answer.toString("latin1")) ?? [];
  return count === undefined ? undefined : Number(count);
}

// STAT of the binary protocol, which the development server speaks as well: magic 0x80, opcode 0x10, all else 0.
const memcachedQuestion = Buffer.alloc(24);
memcachedQuestion.writeUInt16BE(0x8010, 0);

function memcachedCount(answer: Buffer): number | undefined {
  let count: number | undefined;
  let at = 0;
  while (at + 24 <= answer.length) {
    const keyBytes = answer.readUInt16BE(at + 2);
    const end = at + 24 + answer.readUInt32BE(at + 8);
    // An empty answer ends the list.
    if (keyBytes === 0) return count;
    const [key, value] = [
      answer.toString("latin1", at + 24, at + 24 + keyBytes),
      answer.toString("latin1", at + 24 + keyBytes, end),
    ];
    if (key === "curr_items") count = Number(value);
    at = end;
  }
  return undefined;
}

/** Sends a question, and gives what `read` makes of the answer as soon as it makes something of it. */
function ask(port: number, question: Buffer, read: (answer: Buffer) => number | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" });
    let answer: Buffer = Buffer.alloc(0);
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error("it does not answer")));
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("it hung up")));
    socket.on("connect", () => socket.write(question));
    socket.on("data", (bytes) => {
      answer = Buffer.concat([answer, bytes]);
      const count = read(answer);
      if (count === undefined) return;
      resolve(count);
      socket.destroy();
    });
  });
}
