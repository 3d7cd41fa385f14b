import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A TCP proxy that counts the requests which pass it, on all connections together. */
export interface RequestTap {
  readonly port: number;
  /**
   * Names of the requests that passed since the last call, e.g. `["GET"]` or `["0x1d"]`; without those that are about no
   * session, which come by a timer.
   */
  take(): string[];
  /** Round trips since the last call: requests that are sent before the first of them is answered share one. */
  takeTrips(): number;
  close(): Promise<void>;
}

/** Finds the first whole request in the bytes: its name and its length; undefined where it is not whole yet. */
export type RequestReader = (bytes: Buffer) => { readonly name: string; readonly length: number } | undefined;

/** memcached's binary protocol: a header of 24 bytes with the opcode and the length of what follows. */
export const memcachedRequests: RequestReader = (bytes) => {
  if (bytes.length < 24) return undefined;
  const length = 24 + bytes.readUInt32BE(8);
  return bytes.length < length ? undefined : { name: `0x${bytes[1]!.toString(16).padStart(2, "0")}`, length };
};

const valuesOfText = new Set(["set", "add", "replace", "cas", "ms"]);

/** memcached's text protocol: lines, and behind some of them a value, whose length the line names. */
export const memcachedTextRequests: RequestReader = (bytes) => {
  const end = bytes.indexOf("\r\n");
  if (end === -1) return undefined;
  const [name = "", , ...rest] = bytes.toString("latin1", 0, end).split(" ");
  const valueBytes = Number(name === "ms" ? rest[0] : rest[2]);
  const length = valuesOfText.has(name) ? end + 2 + valueBytes + 2 : end + 2;
  return bytes.length < length ? undefined : { name, length };
};

/** Redis' protocol: an array of bulk strings, of which the first is the command. */
export const redisRequests: RequestReader = (bytes) => {
  const lineAt = (from: number) => {
    const end = bytes.indexOf("\r\n", from);
    return end === -1 ? undefined : { number: Number(bytes.toString("latin1", from + 1, end)), end: end + 2 };
  };
  const array = lineAt(0);
  let at = array?.end ?? 0;
  let name = "";
  for (let i = 0; i < (array?.number ?? 1); i++) {
    const bulk = lineAt(at);
    if (bulk === undefined || bytes.length < bulk.end + bulk.number + 2) return undefined;
    if (i === 0) name = bytes.toString("latin1", bulk.end, bulk.end + bulk.number).toUpperCase();
    at = bulk.end + bulk.number + 2;
  }
  return { name, length: at };
};

/** Stands in the keys of what processes leave on the nodes besides sessions. */
const noticeMark = ":{notices:";

/** Starts a tap in front of a server. */
export async function startTap(targetPort: number, read: RequestReader): Promise<RequestTap> {
  let seen: string[] = [];
  let trips = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const target = connect(targetPort, "127.0.0.1");
    let rest: Buffer = Buffer.alloc(0);
    let isAsked = false;
    target.on("data", () => {
      isAsked = false;
    });
    client.on("data", (bytes) => {
      if (!isAsked) trips += 1;
      isAsked = true;
      rest = Buffer.concat([rest, bytes]);
      for (let request = read(rest); request !== undefined; request = read(rest)) {
        if (!rest.subarray(0, request.length).includes(noticeMark)) seen.push(request.name);
        rest = rest.subarray(request.length);
      }
    });
    client.pipe(target).pipe(client);
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => sockets.delete(socket));
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");

  return {
    port: address.port,
    take() {
      const taken = seen;
      seen = [];
      return taken;
    },
    takeTrips() {
      const taken = trips;
      trips = 0;
      return taken;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
