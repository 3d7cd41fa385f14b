import { MsmError } from "../errors.js";
import type { NodeOptions } from "../options.js";
import type { MemcachedServerOptions } from "../storage/memcached-address.js";
import {
  hasSeveralHosts,
  isRedisUrl,
  readRedisDeployment,
  splitRedisOptions,
  withoutSecrets,
} from "../storage/redis-address.js";
import { type MemcachedUrl, memcachedOptionsOf, memcachedSchemes } from "./memcached-node.js";

/** A node as configured, its id filled in, and its url where it is given by Redis' options alone. */
export type ConfiguredNode = NodeOptions & { readonly id: string };

const idPattern = /^[A-Za-z0-9]{1,16}$/;
// What follows an id is no "//": the "redis" of "redis://host:6379" is a scheme.
const withId = /^(?<id>[A-Za-z0-9]{1,16}):(?<rest>[\w+]+:\/\/.*|(?!\/\/).*:\d+)$/;

/**
 * Reads the `nodes` option: text such as `"n1:cache1:11211,n2:cache2:11211"` or `"redis://host"`, or a list of
 * objects. Nodes without an id are called n1, n2, … by position.
 * @throws MsmError MSM_ERR_OPTION
 */
export function parseNodes(nodes: string | readonly NodeOptions[]): readonly ConfiguredNode[] {
  const listed =
    typeof nodes === "string"
      ? joinHosts(nodes.split(/[\s,]+/).filter((text) => text !== "")).map(parseNode)
      : nodes;
  if (!Array.isArray(listed) || listed.length === 0) {
    throw optionError(
      `nodes must name at least one node, as "n1:host:11211" or "redis://host", got ${show(nodes)}`,
    );
  }
  const configured = listed.map(
    (node, i): ConfiguredNode => ({ ...withUrl(node), id: node.id ?? `n${i + 1}` }),
  );
  for (const node of configured) checkNode(node);
  const twice = configured.find((node, i) => configured.findIndex((other) => other.id === node.id) !== i);
  if (twice !== undefined) throw optionError(`nodes must have different ids, got "${twice.id}" twice`);
  return configured;
}

/** Reads the `failoverNodes` option. @throws MsmError MSM_ERR_OPTION where an id is unknown, or no node is left */
export function parseFailoverNodes(
  ids: string | readonly string[],
  nodes: readonly ConfiguredNode[],
): readonly string[] {
  const listed = typeof ids === "string" ? ids.split(/[\s,]+/).filter((id) => id !== "") : [...ids];
  const known = nodes.map((node) => node.id);
  const unknown = listed.find((id) => !known.includes(id));
  if (unknown !== undefined) {
    throw optionError(`failoverNodes must be ids of nodes (${known.join(", ")}), got "${unknown}"`);
  }
  if (listed.length > 0 && known.every((id) => listed.includes(id))) {
    throw optionError(
      `failoverNodes must leave at least one of the nodes (${known.join(", ")}) for ordinary use`,
    );
  }
  return listed;
}

/** `id:host:port`, `host:port`, `id:scheme://…` or `scheme://…`; the scheme tells an id from a host. */
function parseNode(text: string): NodeOptions {
  const { id, rest } = withId.exec(text)?.groups ?? {};
  if (id === undefined || rest === undefined) return { url: text };
  return { id, url: rest };
}

/** Sentinels and servers of a cluster are listed with commas, as nodes are: what has neither id nor scheme is one more. */
function joinHosts(texts: readonly string[]): readonly string[] {
  const joined: string[] = [];
  for (const text of texts) {
    const last = joined.at(-1);
    if (last !== undefined && isUnfinished(last) && !withId.test(text) && !text.includes("://")) {
      joined[joined.length - 1] = `${last},${text}`;
    } else joined.push(text);
  }
  return joined;
}

/** True where more hosts may follow: those of sentinels end with the name that they watch. */
function isUnfinished(text: string): boolean {
  const url = parseNode(text).url ?? "";
  return hasSeveralHosts(url) && !url.replace("://", "").includes("/");
}

/** A node that is given by Redis' options alone gets the address that they name. */
function withUrl(node: NodeOptions): NodeOptions {
  const { url, storage, redis } = node;
  if (redis === undefined || url !== undefined || storage !== undefined) return node;
  return { ...node, ...splitRedisOptions(redis) };
}

function checkNode(node: ConfiguredNode): void {
  if (!idPattern.test(node.id)) {
    throw optionError(`a node's id must be 1 to 16 of A-Z a-z 0-9, got ${show(node.id)}`);
  }
  if ((node.url === undefined) === (node.storage === undefined)) {
    throw optionError(`node ${node.id} must have either a url or a storage`);
  }
  if (node.redis !== undefined && !isRedisUrl(node.url ?? "")) {
    throw optionError(`node ${node.id} must not have options of Redis: it is none`);
  }
  const address = node.url === undefined ? undefined : parseNodeUrl(node.url, node.redis);
  if (address?.kind === "memcached") memcachedOptionsOf(node, address);
  else if (node.memcached !== undefined) {
    throw optionError(`node ${node.id} must not have options of memcached: it is none`);
  }
}

/** Where a node's url leads. */
export type NodeAddress =
  | { readonly kind: "redis"; readonly url: string }
  | ({ readonly kind: "memcached" } & MemcachedUrl);

/**
 * Reads a node's url.
 * @param redis what else is configured for a node on Redis
 * @throws MsmError MSM_ERR_OPTION, without any password
 */
export function parseNodeUrl(url: string, redis?: NodeOptions["redis"]): NodeAddress {
  if (isRedisUrl(url)) {
    readRedisDeployment(url, redis);
    return { kind: "redis", url };
  }
  const parsed = parseUrl(/^[\w+]+:\/\//.test(url) ? url : `memcached://${url}`);
  const access = memcachedSchemes[parsed?.protocol ?? ""];
  const credentials = parsed && credentialsIn(parsed);
  if (!access || !parsed || !credentials || parsed.hostname === "" || !/^\/?$/.test(parsed.pathname)) {
    throw optionError(
      `a node must be "host:port", "memcached://host:port", "memcached+meta://host:port", ` +
        `"memcacheds://host:port" (TLS), "redis://host:port" or "rediss://host:port", ` +
        `each with or without "id:" before it, got ${withoutSecrets(url)}`,
    );
  }
  return {
    kind: "memcached",
    host: parsed.hostname.replace(/^\[|\]$/g, ""),
    port: parsed.port === "" ? 11211 : Number(parsed.port),
    ...access,
    ...credentials,
  };
}

/** The user name and the password in a url; undefined where they are no text. */
function credentialsIn({ username, password }: URL): MemcachedServerOptions | undefined {
  if (username === "" && password === "") return {};
  try {
    return { username: decodeURIComponent(username), password: decodeURIComponent(password) };
  } catch {
    return undefined; // the caller says what would do
  }
}

function parseUrl(url: string): URL | undefined {
  try {
    return new URL(url);
  } catch {
    return undefined; // the caller says what would do
  }
}

const optionError = (message: string) => new MsmError("MSM_ERR_OPTION", message);
const show = (value: unknown) => JSON.stringify(value);
