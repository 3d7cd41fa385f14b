import { randomInt } from "node:crypto";
import { createServer } from "node:net";

// Below the ports that systems hand out to outgoing connections (32768 and up on Linux, 49152 on the others): a node
// that was killed finds its port free when it comes back.
const from = 20_000;
const below = 32_000;
const tries = 200;

/**
 * A TCP port of 127.0.0.1 that nobody listens on.
 * @param taken ports that were given out already and are perhaps not yet listened on
 * @throws Error where 200 random ports between 20000 and 31999 were all taken
 */
export async function freePort(taken: ReadonlySet<number> = new Set()): Promise<number> {
  for (let tried = 0; tried < tries; tried += 1) {
    const port = randomInt(from, below);
    if (!taken.has(port) && (await isFree(port))) return port;
  }
  throw new Error(`no free port found between ${from} and ${below - 1}`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
