import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A peer that speaks Redis' protocol, and answers as a test wants. */
export interface FakeRedis {
  readonly port: number;
  /** The commands that it got, as texts. */
  readonly got: readonly (readonly string[])[];
}

/** Starts one until the test is over. @param answer gives the reply to a command, as it goes over the wire */
export async function startFakeRedis(answer: (command: readonly string[]) => string): Promise<FakeRedis> {
  const got: string[][] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let rest = "";
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes) => {
      rest += bytes.toString("latin1");
      for (let command = firstCommand(rest); command !== undefined; command = firstCommand(rest)) {
        rest = rest.slice(command.length);
        got.push(command.words);
        socket.write(answer(command.words));
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return { port: address.port, got };
}

/** The first command in what came, where it is there whole: an array of bulk strings. */
function firstCommand(text: string): { readonly words: string[]; readonly length: number } | undefined {
  const head = /^\*(\d+)\r\n/.exec(text);
  if (head === null) return undefined;
  let at = head[0].length;
  const words: string[] = [];
  for (let count = Number(head[1]); count > 0; count -= 1) {
    const size = /^\$(\d+)\r\n/.exec(text.slice(at));
    if (size === null) return undefined;
    const begin = at + size[0].length;
    at = begin + Number(size[1]) + 2;
    if (text.length < at) return undefined;
    words.push(text.slice(begin, at - 2));
  }
  return { words, length: at };
}

/** The reply to CLUSTER SLOTS where one server has all slots. */
export const allSlotsAt = (host: string, port: number): string =>
  `*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n${bulk(host)}:${port}\r\n${bulk("0".repeat(40))}`;

export const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
