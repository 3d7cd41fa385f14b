import type { Socket } from "node:net";

/** A command, whole: texts of ASCII, and values. */
export type Command = readonly (string | Uint8Array)[];

/** Sends commands, each whole, in their order. */
export type SendCommands = (commands: readonly Command[]) => void;

/** The bytes of commands, one behind the other. */
export function bytesOf(commands: readonly Command[]): Buffer {
  const all = Buffer.allocUnsafe(commands.reduce((sum, command) => sum + lengthOf(command), 0));
  let at = 0;
  for (const part of commands.flat()) {
    if (typeof part === "string") all.write(part, at, "latin1");
    else all.set(part, at);
    at += part.length;
  }
  return all;
}

const lengthOf = (command: Command) => command.reduce((sum, part) => sum + part.length, 0);

/** Sends in one go what is to be sent in one turn of the event loop: each go is a call of the system. */
export function plainSender(socket: Socket): SendCommands {
  let waiting: Command[] = [];
  const flush = () => {
    const bytes = bytesOf(waiting);
    waiting = [];
    if (!socket.destroyed) socket.write(bytes);
  };
  return (commands) => {
    if (waiting.length === 0) setImmediate(flush);
    waiting.push(...commands);
  };
}

/** Well below the 16 KiB that a TLS record holds, and that memcached reads at a time. */
const pieceBytes = 8192;

/**
 * Sends commands so that a TLS record ends where a command ends, unless the command is longer than a record; and then
 * its last record ends with it.
 *
 * memcached (1.6.18) waits for its socket where it should ask OpenSSL: what stands in a record behind a value that is longer
 * than its buffer is deciphered already, and is not looked at before something else comes in. A question behind a large value
 * would wait for ever. Node puts writes that wait for each other into common records, so one follows when the one before it is
 * on its way. None waits for an answer.
 */
export function tlsSender(socket: Socket): SendCommands {
  const waiting: Command[] = [];
  let isWriting = false;
  const goOn = () => {
    if (isWriting || waiting.length === 0 || socket.destroyed) return;
    isWriting = true;
    socket.write(bytesOf(nextPiece(waiting)), () => {
      isWriting = false;
      goOn();
    });
  };
  return (commands) => {
    if (waiting.length === 0 && !isWriting) process.nextTick(goOn);
    waiting.push(...commands);
  };
}

/** Takes as many commands as fit together, at least one. */
function nextPiece(waiting: Command[]): Command[] {
  let bytes = 0;
  const tooFar = waiting.findIndex((command, index) => {
    bytes += lengthOf(command);
    return index > 0 && bytes > pieceBytes;
  });
  return waiting.splice(0, tooFar === -1 ? waiting.length : tooFar);
}
