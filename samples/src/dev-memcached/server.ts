import { createServer, type Server, type Socket } from "node:net";
import { answer } from "./commands.js";
import { encodeAnswer, takeRequest } from "./frames.js";
import { Items } from "./items.js";

const sweepEveryMs = 30_000;

/** A memcached for development: speaks the binary protocol, keeps everything in this process. Not yet listening. */
export function createDevMemcached(): Server {
  const items = new Items();
  const server = createServer((socket) => serve(socket, items));
  const sweeping = setInterval(() => items.sweep(), sweepEveryMs).unref();
  return server.on("close", () => clearInterval(sweeping));
}

function serve(socket: Socket, items: Items): void {
  let received: Buffer = Buffer.alloc(0);
  socket.setNoDelay();
  // A client that goes away in the middle of something is no trouble of the server's.
  socket.on("error", () => socket.destroy());
  socket.on("data", (bytes) => {
    received = received.length === 0 ? bytes : Buffer.concat([received, bytes]);
    // Many requests in one packet get their answers in one packet.
    socket.cork();
    received = answerAll(socket, received, items);
    socket.uncork();
  });
}

/** Answers every complete request. @returns what is left */
function answerAll(socket: Socket, received: Buffer, items: Items): Buffer {
  let rest = received;
  for (;;) {
    const taken = takeRequest(rest);
    if (taken === "incomplete") return rest;
    if (taken === "nonsense") {
      socket.destroy();
      return Buffer.alloc(0);
    }
    const { answers, hangUp } = answer(taken.frame, items);
    for (const each of answers) socket.write(encodeAnswer(taken.frame, each));
    if (hangUp) {
      socket.end();
      // Nothing after a hang-up is answered, as it is not by memcached.
      socket.removeAllListeners("data").resume();
      return Buffer.alloc(0);
    }
    rest = taken.rest;
  }
}
