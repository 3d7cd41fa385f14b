import { inspect } from "node:util";
import { memcachedStorage } from "../storage/memcached.js";
import { redisStorage } from "../storage/redis.js";
import type { Storage } from "../storage/storage.js";
import { memcachedOptionsOf } from "./memcached-node.js";
import { type ConfiguredNode, parseNodeUrl } from "./nodes-option.js";
import type { RingMember } from "./ring.js";

/** What connecting to a node needs from outside. */
export interface ConnectOptions {
  readonly operationTimeoutMs: number;
  readonly onWarning: (message: string) => void;
}

/** Makes of a configured node what the ring needs to know of it. */
export function ringMember(
  node: ConfiguredNode,
  { failoverOnly, ...options }: ConnectOptions & { readonly failoverOnly: boolean },
): RingMember {
  return {
    id: node.id,
    failoverOnly,
    address: node.storage ?? descriptionOf(node),
    kind: node.storage?.kind ?? parseNodeUrl(node.url ?? "").kind,
    settings: String(options.operationTimeoutMs),
    connect: () => connect(node, options),
  };
}

/** Equal where two nodes are configured alike. Holds passwords, and is never shown. */
function descriptionOf(node: ConfiguredNode): string {
  const described = { ...node, id: "" };
  try {
    return JSON.stringify(described, (_, value: unknown) =>
      typeof value === "function" ? String(value) : value,
    );
  } catch {
    return inspect(described, { depth: 8 }); // an option that holds itself, or a number that JSON has not
  }
}

/** Makes the storage that a configured node names. The client library is loaded now, the server may come later. */
function connect(node: ConfiguredNode, { operationTimeoutMs, onWarning }: ConnectOptions): Storage {
  if (node.storage !== undefined) return node.storage;
  const address = parseNodeUrl(node.url ?? "");
  if (address.kind === "memcached") {
    return memcachedStorage({ ...memcachedOptionsOf(node, address), operationTimeoutMs });
  }
  return redisStorage({
    url: address.url,
    ...(node.redis !== undefined && { options: node.redis }),
    operationTimeoutMs,
    onWarning: (message) => onWarning(`node ${node.id}: ${message}`),
  });
}
