import { MsmError } from "../errors.js";
import { type MemcachedServerOptions, memcachedAddress } from "../storage/memcached-address.js";
import type { ConfiguredNode } from "./nodes-option.js";

/** What the url of a memcached node says. */
export interface MemcachedUrl extends MemcachedServerOptions {
  readonly host: string;
  readonly port: number;
}

/** What a scheme says of how memcached is spoken to. */
export const memcachedSchemes: Readonly<Record<string, MemcachedServerOptions>> = {
  "memcached:": {},
  "memcached+meta:": { protocol: "meta" },
  "memcacheds:": { protocol: "meta", tls: true },
};

/**
 * What the storage of a memcached node takes: what its url says, and what its options of memcached say.
 * @throws MsmError MSM_ERR_OPTION where they contradict each other, or make no sense together
 */
export function memcachedOptionsOf(node: ConfiguredNode, url: MemcachedUrl): MemcachedUrl {
  const options = node.memcached ?? {};
  const { protocol, tls, username, password } = options;
  const twice = (["protocol", "username", "password"] as const).find(
    (name) => options[name] !== undefined && url[name] !== undefined && options[name] !== url[name],
  );
  // A url that asks for TLS leaves open which certificates it wants.
  const contradicted = tls === false && url.tls === true ? "tls" : twice;
  if (contradicted !== undefined) {
    throw optionError(
      node,
      `memcached.${contradicted} is another than its url says; leave it out in one of them`,
    );
  }
  const merged: MemcachedUrl = {
    ...url,
    ...(protocol !== undefined && { protocol }),
    ...(tls !== undefined && { tls }),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
  };
  try {
    memcachedAddress(merged);
    return merged;
  } catch (thrown) {
    const error = MsmError.from(thrown, "MSM_ERR_OPTION");
    throw optionError(node, error.message.replace(`${error.code}: `, "memcached."));
  }
}

const optionError = (node: ConfiguredNode, message: string) =>
  new MsmError("MSM_ERR_OPTION", `node ${node.id}: ${message}`);
