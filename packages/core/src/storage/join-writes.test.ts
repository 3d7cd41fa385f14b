import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { joinWrites } from "./join-writes.js";

/** A connection, and how often something was sent on it: each time is a call of the system. */
async function countedConnection() {
  const server = createServer((socket) => socket.resume()).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const socket: Socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  let sends = 0;
  const { _write, _writev } = socket;
  socket._write = function (...args) {
    sends++;
    _write.apply(this, args);
  };
  socket._writev = function (...args) {
    sends++;
    _writev?.apply(this, args);
  };
  return { socket, sends: () => sends, close: () => void [socket.destroy(), server.close()] };
}

/** What goes out in one turn of the event loop, and has gone out when it is over. */
async function inOneTurn(socket: Socket, texts: readonly string[]): Promise<void> {
  const written = texts.map(
    (text) =>
      new Promise((resolve) => {
        joinWrites(socket);
        socket.write(text, resolve);
      }),
  );
  await Promise.all(written);
}

describe("joined writes", () => {
  it("go out in one go for each turn of the event loop, in their order", async () => {
    const { socket, sends, close } = await countedConnection();
    const before = socket.bytesWritten;

    await inOneTurn(socket, ["a", "b", "c"]);
    expect([sends(), socket.bytesWritten - before]).toEqual([1, 3]);

    await inOneTurn(socket, ["d", "e"]);
    expect([sends(), socket.bytesWritten - before]).toEqual([2, 5]);
    close();
  });
});
