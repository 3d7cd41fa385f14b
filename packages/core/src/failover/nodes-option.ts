import { MsmError } from "../errors.js";
import type { NodeOptions } from "../options.js";

/** A node as configured, its id filled in. */
export type ConfiguredNode = NodeOptions & { readonly id: string };

const idPattern = /^[A-Za-z0-9]{1,16}$/;
// What follows an id is no "//": the "redis" of "redis://host:6379" is a scheme.
const withId = /^(?<id>[A-Za-z0-9]{1,16}):(?<rest>\w+:\/\/.*|(?!\/\/).*:\d+)$/;

/**
 * Reads the `nodes` option: text such as `"n1:cache1:11211,n2:cache2:11211"` or `"redis://host"`, or a list of
 * objects. Nodes without an id are called n1, n2, … by position.
 * @throws MsmError MSM_ERR_OPTION
 */
export function parseNodes(nodes: string | readonly NodeOptions[]): readonly ConfiguredNode[] {
  const listed =
    typeof nodes === "string"
      ? nodes
          .split(/[\s,]+/)
          .filter((text) => text !== "")
          .map(parseNode)
      : nodes;
  if (!Array.isArray(listed) || listed.length === 0) {
    throw optionError(
      `nodes must name at least one node, as "n1:host:11211" or "redis://host", got ${show(nodes)}`,
    );
  }
  const configured = listed.map((node, i): ConfiguredNode => ({ ...node, id: node.id ?? `n${i + 1}` }));
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

function checkNode(node: ConfiguredNode): void {
  if (!idPattern.test(node.id)) {
    throw optionError(`a node's id must be 1 to 16 of A-Z a-z 0-9, got ${show(node.id)}`);
  }
  if ((node.url === undefined) === (node.storage === undefined)) {
    throw optionError(`node ${node.id} must have either a url or a storage`);
  }
  if (node.url !== undefined) parseNodeUrl(node.url);
}

/** Where a node's url leads. */
export type NodeAddress =
  | { readonly kind: "redis"; readonly url: string }
  | {
      readonly kind: "memcached";
      readonly host: string;
      readonly port: number;
      readonly username?: string;
      readonly password?: string;
    };

/** Reads a node's url. @throws MsmError MSM_ERR_OPTION, without what stands before an "@" in it */
export function parseNodeUrl(url: string): NodeAddress {
  const parsed = parseUrl(/^\w+:\/\//.test(url) ? url : `memcached://${url}`);
  if (parsed?.protocol === "redis:" || parsed?.protocol === "rediss:") return { kind: "redis", url };
  if (parsed?.protocol !== "memcached:" || parsed.hostname === "" || !/^\/?$/.test(parsed.pathname)) {
    throw optionError(
      `a node must be "host:port", "memcached://host:port", "redis://host:port" or "rediss://host:port", ` +
        `each with or without "id:" before it, got ${show(url.replace(/^.*@/, "…@"))}`,
    );
  }
  return {
    kind: "memcached",
    host: parsed.hostname.replace(/^\[|\]$/g, ""),
    port: parsed.port === "" ? 11211 : Number(parsed.port),
    ...(parsed.username === ""
      ? {}
      : { username: decodeURIComponent(parsed.username), password: decodeURIComponent(parsed.password) }),
  };
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
