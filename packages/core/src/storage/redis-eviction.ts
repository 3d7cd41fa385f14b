import type { Redis } from "ioredis";
import { isNotAllowed } from "./redis-errors.js";

/** Warns, once for each server, where its maxmemory-policy lets sessions and leases vanish. */
export class EvictionWarnings {
  readonly #onWarning: (message: string) => void;
  /** The servers that have told, or do not tell. */
  readonly #asked = new Set<string>();

  constructor(onWarning: (message: string) => void) {
    this.#onWarning = onWarning;
  }

  /** Asks a server on a new connection; never rejects. */
  async check(redis: Redis): Promise<void> {
    const server = nameOf(redis);
    if (this.#asked.has(server)) return;
    try {
      const policy = await policyOf(redis);
      if (this.#asked.has(server)) return;
      this.#asked.add(server);
      if (policy !== undefined && policy !== "noeviction") this.#onWarning(warningOf(server, policy));
    } catch {
      // If the connection is at fault, the operations on it say so; the next one is asked again. Who is warned only
      // listens: what they throw is nobody's trouble here.
    }
  }
}

const warningOf = (server: string, policy: string) =>
  `the maxmemory-policy of Redis at ${server} is ${policy}: sessions and leases may vanish. Set it to noeviction.`;

/** Undefined where the user may ask neither way. */
async function policyOf(redis: Redis): Promise<string | undefined> {
  return (
    (await unlessRefused(policyFromInfo(redis))) ?? (await unlessRefused(policyFromConfiguration(redis)))
  );
}

async function policyFromInfo(redis: Redis): Promise<string | undefined> {
  return /^maxmemory_policy:(\S+)/m.exec(String(await redis.info("memory")))?.[1];
}

async function policyFromConfiguration(redis: Redis): Promise<string | undefined> {
  const reply: unknown = await redis.config("GET", "maxmemory-policy");
  return Array.isArray(reply) && typeof reply[1] === "string" ? reply[1] : undefined;
}

async function unlessRefused(asked: Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await asked;
  } catch (thrown) {
    if (isNotAllowed(thrown)) return undefined;
    throw thrown;
  }
}

const nameOf = ({ stream, options }: Redis): string =>
  stream.remoteAddress === undefined
    ? (options.path ?? "this address")
    : `${stream.remoteAddress}:${stream.remotePort}`;
