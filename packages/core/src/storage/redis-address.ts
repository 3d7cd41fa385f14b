import type { RedisOptions } from "ioredis";
import { MsmError } from "../errors.js";

/**
 * What ioredis takes, e.g. `username`, `password`, `tls`, `path`, or `sentinels` with `name`. What decides when
 * something is sent again, and `keyPrefix`, are not for the user to change.
 */
export type RedisServerOptions = RedisOptions & {
  /** Instead of `host`: servers of a Redis Cluster, as `"host:port"`. One that answers is enough to find the others. */
  readonly cluster?: readonly string[];
};

/** Where one node on Redis is: a server, what Sentinels watch, or a cluster. */
export type RedisDeployment =
  | { readonly kind: "server"; readonly url: string | undefined; readonly options: RedisOptions }
  | { readonly kind: "sentinels"; readonly sentinels: readonly HostAndPort[]; readonly options: RedisOptions }
  | { readonly kind: "cluster"; readonly seeds: readonly HostAndPort[]; readonly options: RedisOptions };

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

const forms =
  '"redis://host:port", "redis+sentinel://host:port,host:port/name", "redis+cluster://host:port,host:port", ' +
  '"redis+unix:///path", or one of the first three with "rediss" for TLS';

const plain = /^rediss?:\/\//;
const unixSocket = /^(?:redis\+unix:\/\/)?(?<path>\/[^?]*)(?:\?db=(?<db>\d+))?$/;
const severalHosts =
  /^(?<scheme>rediss?)\+(?<kind>sentinel|cluster):\/\/(?:(?<user>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<hosts>[^@/?]+)(?:\/(?<name>[^/?]*))?(?:\?db=(?<db>\d+))?$/;

/** True where the address is one of Redis, be it right or wrong. */
export const isRedisUrl = (url: string): boolean => /^rediss?(?:\+\w+)?:\/\//.test(url);

/** True where the address has several hosts. */
export const hasSeveralHosts = (url: string): boolean => /^rediss?\+(?:sentinel|cluster):\/\//.test(url);

/**
 * Reads where a node on Redis is: from an address, from options, or from both, as in
 * `{ url: "rediss://host", options: { tls: { ca } } }`.
 * @throws MsmError MSM_ERR_OPTION, without any password
 */
export function readRedisDeployment(
  url: string | undefined,
  options: RedisServerOptions = {},
): RedisDeployment {
  if (typeof options !== "object" || options === null) throw wrong("must be an object");
  const { cluster, ...rest } = options;
  checkOptions(options);
  const several = url === undefined ? undefined : severalHosts.exec(url)?.groups;
  if (several !== undefined) {
    if (cluster !== undefined || rest.sentinels !== undefined) {
      throw wrong("must not name cluster or sentinels beside a url that has them");
    }
    const stated = { ...statedIn(several, rest.tls), ...rest };
    const hosts = hostsOf(several.hosts!, several.kind === "sentinel" ? 26379 : 6379);
    return several.kind === "cluster"
      ? clusterOf(hosts, several.name, stated)
      : sentinelsOf(hosts, several.name ?? rest.name, stated);
  }
  if (cluster !== undefined) {
    if (url !== undefined) throw wrong("must have either a url or a cluster");
    return clusterOf(
      cluster.flatMap((text) => hostsOf(text, 6379)),
      undefined,
      rest,
    );
  }
  if (rest.sentinels !== undefined) {
    if (url !== undefined) throw wrong("must have either a url or sentinels");
    const sentinels = rest.sentinels.map(({ host = "127.0.0.1", port = 26379 }) => ({ host, port }));
    return sentinelsOf(sentinels, rest.name, rest);
  }
  return serverOf(url, rest);
}

/**
 * Gives options that name a server as its address, and the other options.
 * @throws MsmError MSM_ERR_OPTION where they name none
 */
export function splitRedisOptions(options: RedisServerOptions): {
  readonly url: string;
  readonly redis: RedisServerOptions;
} {
  const deployment = readRedisDeployment(undefined, options);
  const { cluster: _cluster, sentinels: _sentinels, name, path, host, port = 6379, ...redis } = options;
  const list = (hosts: readonly HostAndPort[]) => hosts.map(bracketed).join(",");
  if (deployment.kind === "cluster") return { url: `redis+cluster://${list(deployment.seeds)}`, redis };
  if (deployment.kind === "sentinels") {
    return { url: `redis+sentinel://${list(deployment.sentinels)}/${name}`, redis };
  }
  if (path !== undefined) return { url: `redis+unix://${path}`, redis };
  if (host !== undefined) return { url: `redis://${bracketed({ host, port })}`, redis };
  throw wrong("must have a url, a host, a path, sentinels or a cluster");
}

const bracketed = ({ host, port }: HostAndPort) => `${host.includes(":") ? `[${host}]` : host}:${port}`;

function serverOf(url: string | undefined, options: RedisOptions): RedisDeployment {
  if (url === undefined) return { kind: "server", url, options };
  const { path, db } = unixSocket.exec(url)?.groups ?? {};
  if (path !== undefined) {
    return { kind: "server", url: undefined, options: { path, ...databaseOf(db), ...options } };
  }
  if (!plain.test(url) || !URL.canParse(url))
    throw wrong(`'s url must be ${forms}, got ${withoutSecrets(url)}`);
  decode(new URL(url).username + new URL(url).password);
  return { kind: "server", url, options };
}

function sentinelsOf(
  sentinels: readonly HostAndPort[],
  name: string | undefined,
  options: RedisOptions,
): RedisDeployment {
  if (typeof name !== "string" || name === "") {
    throw wrong(
      "needs the name under which the sentinels watch it, as redis+sentinel://host:port,host:port/name, " +
        "or `name` beside `sentinels`",
    );
  }
  return { kind: "sentinels", sentinels, options: { ...options, name } };
}

function clusterOf(
  seeds: readonly HostAndPort[],
  path: string | undefined,
  options: RedisOptions,
): RedisDeployment {
  if (seeds.length === 0) throw wrong("must name at least one server of its cluster");
  if (Number(options.db ?? 0) !== 0 || (path !== undefined && !/^0?$/.test(path))) {
    throw wrong("must be database 0: a Redis Cluster has no other");
  }
  return { kind: "cluster", seeds, options };
}

/** What an address says besides hosts. `rediss` means TLS everywhere, to the sentinels as well. */
function statedIn(
  { scheme, user, password, db }: Record<string, string | undefined>,
  tls: RedisOptions["tls"] = {},
): RedisOptions {
  const isTls = scheme === "rediss";
  return {
    ...(user ? { username: decode(user) } : {}),
    ...(password === undefined ? {} : { password: decode(password) }),
    ...databaseOf(db),
    ...(isTls && { tls, sentinelTLS: tls, enableTLSForSentinelMode: true }),
  };
}

const databaseOf = (db: string | undefined) => (db === undefined ? {} : { db: Number(db) });

function checkOptions({ cluster, sentinels, keyPrefix }: RedisServerOptions): void {
  if (cluster !== undefined && sentinels !== undefined) {
    throw wrong("must have either a cluster or sentinels");
  }
  if (
    cluster !== undefined &&
    !(Array.isArray(cluster) && cluster.every((each) => typeof each === "string"))
  ) {
    throw wrong('must have its cluster as a list of "host:port"');
  }
  if (sentinels !== undefined && !(Array.isArray(sentinels) && sentinels.length > 0)) {
    throw wrong("must have its sentinels as a list of { host, port }, at least one");
  }
  if (keyPrefix !== undefined && keyPrefix !== "") {
    throw wrong("must not have a keyPrefix of its own: that is an option of the session manager");
  }
}

function hostsOf(text: string, defaultPort: number): readonly HostAndPort[] {
  return text.split(",").map((host) => {
    const parsed = URL.canParse(`redis://${host}`) ? new URL(`redis://${host}`) : undefined;
    if (
      parsed === undefined ||
      parsed.hostname === "" ||
      parsed.username !== "" ||
      !/^\/?$/.test(parsed.pathname)
    ) {
      throw wrong(`must have its hosts as "host:port", got ${withoutSecrets(host)}`);
    }
    return {
      host: parsed.hostname.replace(/^\[|\]$/g, ""),
      port: parsed.port === "" ? defaultPort : Number(parsed.port),
    };
  });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong("must have what is special in its user and password percent-encoded");
  }
}

/** An address as it may stand in a message: without what may be a password. */
export function withoutSecrets(url: string): string {
  const shown = url.includes("@")
    ? url.replace(/^([\w+]+:\/\/)?.*@/s, "$1…@")
    : // A password that is not percent-encoded may have ended the text before its "@".
      url.replace(/^([\w+]+:\/\/(?=:)|[\w+]+:\/\/[^:/]+(?!:\d+(?:[,/?]|$))):.*$/s, "$1:…");
  return JSON.stringify(shown);
}

const wrong = (message: string) =>
  new MsmError("MSM_ERR_OPTION", `a node on Redis${message.startsWith("'") ? "" : " "}${message}`);
