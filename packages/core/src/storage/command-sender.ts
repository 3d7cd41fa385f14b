import type { Socket } from "node:net";

/** Sends commands, each whole, in their order. */
export type SendCommands = (commands: readonly Uint8Array[]) => void;

/** Sends all commands in one go. */
export function plainSender(socket: Socket): SendCommands {
  return (commands) => {
    socket.write(Buffer.concat(commands));
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
  const waiting: Uint8Array[] = [];
  let isWriting = false;
  const goOn = () => {
    if (isWriting || waiting.length === 0) return;
    isWriting = true;
    socket.write(nextPiece(waiting), (error) => {
      isWriting = false;
      // Where the connection is over, whoever waits for it is told elsewhere.
      if (!error) goOn();
    });
  };
  return (commands) => {
    waiting.push(...commands);
    goOn();
  };
}

/** As many commands as fit together, at least one. */
function nextPiece(waiting: Uint8Array[]): Uint8Array {
  let bytes = 0;
  const tooFar = waiting.findIndex(({ length }, index) => {
    bytes += length;
    return index > 0 && bytes > pieceBytes;
  });
  return Buffer.concat(waiting.splice(0, tooFar === -1 ? waiting.length : tooFar));
}
