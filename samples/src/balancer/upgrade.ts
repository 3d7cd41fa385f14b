import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Connected } from "./connect.js";
import { upgradeHeaders } from "./headers.js";

/** Hands a connection that wants another protocol (a websocket) to a process, byte by byte, until either side ends it. */
export async function passThrough(
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  { socket }: Connected,
): Promise<void> {
  socket.write(`${request.method} ${request.url} HTTP/1.1\r\n${lines(upgradeHeaders(request))}\r\n`);
  socket.write(head);
  const bothWays = Promise.all([pipeline(socket, client), pipeline(client, socket)]);
  await bothWays.catch(() => {
    // One side broke off, so the other one is told in the only way there is.
    socket.destroy();
    client.destroy();
  });
}

/** Says no to an upgrade. */
export function refuseUpgrade(client: Duplex): void {
  client.end("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
}

function lines(headers: readonly string[]): string {
  let text = "";
  for (let at = 0; at + 1 < headers.length; at += 2) text += `${headers[at]}: ${headers[at + 1]}\r\n`;
  return text;
}
