import { isIP } from "node:net";
import { type ConnectionOptions, createSecureContext } from "node:tls";
import { MsmError } from "../errors.js";

/**
 * How memcached is spoken to. "binary": the binary protocol through memjs, with SASL where there are a user name and a
 * password. "meta": the text protocol with its meta commands, with TLS, and with what memcached's `-Y` asks for.
 */
export type MemcachedProtocol = "binary" | "meta";

/** As node:tls takes them. */
export type MemcachedTls = Pick<
  ConnectionOptions,
  | "ca"
  | "cert"
  | "key"
  | "passphrase"
  | "servername"
  | "rejectUnauthorized"
  | "checkServerIdentity"
  | "minVersion"
>;

/** Which options of a node say how its memcached is spoken to. */
export interface MemcachedServerOptions {
  /** Default "meta" with `tls`, else "binary". */
  readonly protocol?: MemcachedProtocol;
  /** Needs the meta protocol. `true` takes what Node trusts by default. Default false. */
  readonly tls?: boolean | MemcachedTls;
  /** Both or neither: SASL PLAIN in the binary protocol, in the meta protocol what `-Y` asks for. */
  readonly username?: string;
  readonly password?: string;
}

/** Where a memcached is, and how it is spoken to, checked and with every default filled in. */
export type MemcachedAddress = {
  readonly host: string;
  readonly port: number;
  readonly credentials: MemcachedCredentials | undefined;
} & (
  | { readonly protocol: "binary" }
  | { readonly protocol: "meta"; readonly tls: ConnectionOptions | undefined }
);

export interface MemcachedCredentials {
  readonly username: string;
  readonly password: string;
}

/** Fills the defaults in. @throws MsmError MSM_ERR_OPTION; its message never has a password or a key in it */
export function memcachedAddress(
  options: MemcachedServerOptions & { readonly host: string; readonly port: number },
): MemcachedAddress {
  const { host, port, tls = false } = options;
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw optionError(`port must be a whole number from 1 to 65535, got ${JSON.stringify(port)}`);
  }
  const protocol = options.protocol ?? (tls === false ? "binary" : "meta");
  const credentials = credentialsOf(options);
  if (protocol === "meta") {
    if (credentials && /\s/.test(credentials.username)) {
      throw optionError(
        "username must have no blank in it, as memcached's -Y takes what follows for the password",
      );
    }
    return { protocol, host, port, credentials, tls: secured(tls, host) };
  }
  if (protocol !== "binary") {
    throw optionError(`protocol must be "binary" or "meta", got ${JSON.stringify(protocol)}`);
  }
  if (tls !== false) {
    throw optionError(
      'protocol must be "meta" where there is tls, got "binary": memjs knows no TLS. Leave protocol out',
    );
  }
  return { protocol, host, port, credentials };
}

function credentialsOf({ username, password }: MemcachedServerOptions): MemcachedCredentials | undefined {
  if (username === undefined && password === undefined) return undefined;
  for (const [name, value] of Object.entries({ username, password })) {
    if (typeof value !== "string" || value === "") {
      throw optionError(`username and password must both be there, or neither; ${name} is missing`);
    }
  }
  return { username: username!, password: password! };
}

/** What tls.connect() takes. Certificates are read once, here, so that spoilt ones are found at start. */
function secured(tls: boolean | MemcachedTls, host: string): ConnectionOptions | undefined {
  if (tls === false) return undefined;
  if (tls !== true && (typeof tls !== "object" || tls === null || Array.isArray(tls))) {
    throw optionError(`tls must be true, false or an object of node:tls options, got ${typeof tls}`);
  }
  const { ca, cert, key, passphrase, minVersion, servername, rejectUnauthorized, checkServerIdentity } =
    tls === true ? {} : tls;
  try {
    return {
      secureContext: createSecureContext(given({ ca, cert, key, passphrase, minVersion })),
      ...given({ rejectUnauthorized, checkServerIdentity, servername: servername ?? serverNameOf(host) }),
    };
  } catch (thrown) {
    const reason = thrown instanceof Error && "code" in thrown ? thrown.code : thrown;
    throw optionError(`tls must be what node:tls takes, with ca, cert and key in PEM; it says ${reason}`);
  }
}

/** What is asked for by SNI, and what the certificate must name. An address is no name: TLS checks it by itself. */
const serverNameOf = (host: string) => (isIP(host) === 0 ? host : undefined);

/** Without what is undefined, which node:tls would take for a value. */
const given = <T extends object>(options: T): Partial<T> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;

const optionError = (message: string) => new MsmError("MSM_ERR_OPTION", message);
