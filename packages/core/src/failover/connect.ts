import { memcachedStorage } from "../storage/memcached.js";
import { redisStorage } from "../storage/redis.js";
import type { Storage } from "../storage/storage.js";
import { memcachedOptionsOf } from "./memcached-node.js";
import { type ConfiguredNode, parseNodeUrl } from "./nodes-option.js";

/** What connecting to a node needs from outside. */
export interface ConnectOptions {
  readonly operationTimeoutMs: number;
  readonly onWarning: (message: string) => void;
}

/** Makes the storage that a configured node names. The client library is loaded now, the server may come later. */
export function connect(node: ConfiguredNode, { operationTimeoutMs, onWarning }: ConnectOptions): Storage {
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
