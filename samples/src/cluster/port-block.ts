import { randomInt } from "node:crypto";
import { createServer, type Server } from "node:net";

/** TCP ports of 127.0.0.1 that no other cluster on this machine is given while this one holds them. */
export interface PortBlock {
  /**
   * A port that nobody listens on, another one with every call.
   * @throws Error where the block has none left
   */
  next(): Promise<number>;
  /** Lets another cluster have the block. Safe to call twice. */
  release(): Promise<void>;
}

const host = "127.0.0.1";
// Below the ports that systems hand out to outgoing connections (32768 and up on Linux, 49152 on the others): a node
// that was killed finds its port free when it comes back.
const from = 20_000;
// One to hold the block by, and more than the 16 processes and 16 nodes of the largest cluster.
const portsPerBlock = 40;
const blocks = 300;
const tries = 200;

/**
 * Takes a block of 40 ports, by listening on its first one as long as it is held: a port that was looked up and is not
 * listened on yet, or whose process is down for the moment, is given to nobody else.
 * @throws Error where 200 random blocks between 20000 and 31999 were all taken
 */
export async function claimPorts(): Promise<PortBlock> {
  for (let tried = 0; tried < tries; tried += 1) {
    const first = from + portsPerBlock * randomInt(blocks);
    const holder = await listen(first);
    if (holder) return new HeldBlock(first, holder);
  }
  throw new Error(`no free ports found between ${from} and ${from + blocks * portsPerBlock - 1}`);
}

class HeldBlock implements PortBlock {
  readonly #first: number;
  readonly #holder: Server;
  #given = 0;

  constructor(first: number, holder: Server) {
    this.#first = first;
    this.#holder = holder;
  }

  async next(): Promise<number> {
    while (this.#given < portsPerBlock - 1) {
      this.#given += 1;
      const port = this.#first + this.#given;
      if (await isFree(port)) return port;
    }
    throw new Error(`no free port is left between ${this.#first} and ${this.#first + portsPerBlock - 1}`);
  }

  release(): Promise<void> {
    return closed(this.#holder);
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = await listen(port);
  if (!server) return false;
  await closed(server);
  return true;
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer((connection) => connection.destroy());
    server.once("error", () => resolve(undefined));
    server.listen(port, host, () => resolve(server.unref()));
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
