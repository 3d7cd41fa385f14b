import type { Writable } from "node:stream";

/**
 * Sends what is written from now until the end of this turn of the event loop in one go: each go is a call of the system,
 * which costs more than making and reading a command does.
 */
export function joinWrites(stream: Writable): void {
  if (stream.writableCorked > 0) return;
  stream.cork();
  setImmediate(() => stream.uncork());
}
