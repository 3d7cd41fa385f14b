import type { HostAndPort } from "./redis-address.js";
import { nonsense } from "./redis-errors.js";

/** How many slots a Redis Cluster has. */
const slotCount = 16_384;

/** Which server of a cluster has which slot. */
export class SlotMap {
  readonly #owners = new Map<number, HostAndPort>();
  readonly #servers = new Map<string, HostAndPort>();

  /**
   * @param reply what CLUSTER SLOTS gave
   * @param asked the server that gave it: it stands for those of which it names no host
   * @throws MsmError MSM_ERR_STORAGE_PROTOCOL where that is none
   */
  static read(reply: unknown, asked: HostAndPort): SlotMap {
    const map = new SlotMap();
    if (!Array.isArray(reply)) throw nonsense();
    for (const range of reply as unknown[]) {
      if (!Array.isArray(range) || !Array.isArray(range[2])) throw nonsense();
      const [first, last, [host, port]] = range as [unknown, unknown, unknown[]];
      if (typeof first !== "number" || typeof last !== "number" || typeof port !== "number") throw nonsense();
      const owner = { host: isKnown(host) ? host : asked.host, port };
      map.#servers.set(serverName(owner), owner);
      for (let slot = first; slot <= last && slot < slotCount; slot += 1) map.#owners.set(slot, owner);
    }
    return map;
  }

  /** Undefined where no server is known to have the slot. */
  ownerOf(slot: number): HostAndPort | undefined {
    return this.#owners.get(slot);
  }

  /** Notes that a slot has moved. */
  move(slot: number, owner: HostAndPort): void {
    this.#owners.set(slot, owner);
    this.#servers.set(serverName(owner), owner);
  }

  /** The servers that have slots, by their names. */
  get servers(): ReadonlyMap<string, HostAndPort> {
    return this.#servers;
  }
}

/** Stands for a server in maps and messages. */
export const serverName = ({ host, port }: HostAndPort): string => `${host}:${port}`;

/** Null, "" or "?" where the cluster is set up to let clients keep to the host that they know. */
const isKnown = (host: unknown): host is string => typeof host === "string" && host !== "" && host !== "?";

/**
 * The slot of a key: CRC-16 (XMODEM) of what stands in its first braces, if anything does, else of the whole key.
 * https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
 */
export function slotOf(key: string): number {
  const hashed = /^[^{]*\{([^}]+)\}/.exec(key)?.[1] ?? key;
  let crc = 0;
  for (const byte of Buffer.from(hashed)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
  }
  return (crc & 0xffff) % slotCount;
}
