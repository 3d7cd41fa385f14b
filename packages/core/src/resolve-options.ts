import { serialize } from "cookie";
import { systemClock } from "./clock.js";
import type { Codec } from "./codec/codec.js";
import { jsonCodec } from "./codec/json.js";
import { MsmError } from "./errors.js";
import type { SessionRequest } from "./life-cycle/exchange.js";
import { pathOf } from "./locking/locking.js";
import { milliseconds } from "./milliseconds.js";
import type {
  ChangeableOptions,
  CookieOptions,
  ResolvedCookieOptions,
  ResolvedLocking,
  ResolvedOptions,
  ResolvedStickyOptions,
  SessionManagerOptions,
} from "./options.js";

const minute = 60_000;

/** How sessions live in a process where no option says otherwise. */
export const inProcessDefaults = {
  backup: "sync",
  backupTimeoutMs: 1000,
  maxBackupLagMs: 250,
  maxLocalSessions: 100_000,
} as const;
const leastSecretBytes = 32;

/** Names of all options; anything else is a slip of the pen, and is said to be one. */
const known = {
  common: [
    ...[
      "mode",
      "secret",
      "nodes",
      "failoverNodes",
      "enabled",
      "keyPrefix",
      "cookie",
      "idleTimeoutMs",
      "absoluteTimeoutMs",
    ],
    ...[
      "codec",
      "locking",
      "onLockTimeout",
      "lockTimeoutMs",
      "leaseTtlMs",
      "maxLeaseMs",
      "onConflict",
      "onStorageError",
      "operationTimeoutMs",
      "maxRecordBytes",
      "closeTimeoutMs",
    ],
    "clock",
  ],
  sticky: ["route", "backup", "backupTimeoutMs", "maxBackupLagMs", "maxLocalSessions"],
  cookie: ["name", "path", "domain", "httpOnly", "secure", "sameSite", "maxAgeMs", "partitioned", "priority"],
} as const;

/**
 * Checks the options and fills in the defaults; never changes its argument.
 * @throws MsmError MSM_ERR_OPTION that names the option, what it got, and what would do
 */
export function resolveOptions(options: SessionManagerOptions): ResolvedOptions {
  if (typeof options !== "object" || options === null) throw wrong("options", "an object", options);
  const mode = oneOf("mode", options.mode ?? "non-sticky", ["sticky", "non-sticky"]);
  checkNames("", options, mode === "sticky" ? [...known.common, ...known.sticky] : known.common, mode);
  return Object.freeze({
    mode: options.mode === "sticky" ? resolveSticky(options) : ({ kind: "non-sticky" } as const),
    secrets: resolveSecrets(options.secret),
    keyPrefix: matching(
      "keyPrefix",
      options.keyPrefix ?? "msm",
      /^[\w-]{1,16}$/,
      "1 to 16 of A-Z a-z 0-9 _ -",
    ),
    cookie: resolveCookie(options.cookie ?? {}),
    idleTimeoutMs: milliseconds("idleTimeoutMs", options.idleTimeoutMs ?? 30 * minute),
    absoluteTimeoutMs: optional(options.absoluteTimeoutMs, (value) =>
      milliseconds("absoluteTimeoutMs", value),
    ),
    codec: resolveCodec(options.codec ?? "json"),
    locking: resolveLocking(options.locking ?? "optimistic"),
    saves: resolveSaves(options),
    onLockTimeout: oneOf("onLockTimeout", options.onLockTimeout ?? "error", ["error", "optimistic"]),
    lockTimeoutMs: milliseconds("lockTimeoutMs", options.lockTimeoutMs ?? 2000),
    ...resolveLease(options),
    onConflict:
      typeof options.onConflict === "function"
        ? options.onConflict
        : oneOf("onConflict", options.onConflict ?? "last-write-wins", ["last-write-wins", "fail"]),
    onStorageError: oneOf("onStorageError", options.onStorageError ?? "reject", [
      "reject",
      "without-session",
    ]),
    operationTimeoutMs: milliseconds("operationTimeoutMs", options.operationTimeoutMs ?? 250),
    maxRecordBytes: atLeast("maxRecordBytes", options.maxRecordBytes ?? 512 * 1024, 1024),
    closeTimeoutMs: milliseconds("closeTimeoutMs", options.closeTimeoutMs ?? 5000),
    enabled: bool("enabled", options.enabled ?? true),
    clock: options.clock ?? systemClock,
  });
}

/** What is sealed, stored or sent with these cannot be read without them, and all processes need the same. */
const fixed: readonly string[] = ["secret", "keyPrefix", "cookie", "codec", "clock"];

/**
 * The options as they are after a change: those that were given before, and in their place those that are given now.
 * Options of sticky mode are kept for it while the mode is another. Never changes its arguments.
 * @throws MsmError MSM_ERR_OPTION that names an option which cannot be changed, or that does not exist
 */
export function changedOptions(
  before: SessionManagerOptions,
  changes: ChangeableOptions,
): { readonly given: SessionManagerOptions; readonly options: SessionManagerOptions } {
  if (typeof changes !== "object" || changes === null) throw wrong("options", "an object", changes);
  const changeable = [...known.common, ...known.sticky].filter((name) => !fixed.includes(name));
  for (const name of Object.keys(changes)) {
    if (!fixed.includes(name)) continue;
    throw new MsmError(
      "MSM_ERR_OPTION",
      `${name} cannot be changed at run time; it needs a restart. reconfigure() takes ${changeable.join(", ")}`,
    );
  }
  checkNames("", changes, changeable, "reconfigure()");
  const wanted = Object.entries(changes).filter(([, value]) => value !== undefined);
  const given = { ...before, ...Object.fromEntries(wanted) } as SessionManagerOptions;
  if (given.mode === "sticky") {
    if (before.mode === "sticky" && given.route !== before.route)
      throw needs("another route", 'mode "non-sticky" in between, or a restart');
    return { given, options: given };
  }
  const isKept = ([name]: [string, unknown]) => !isSticky(name) || wanted.some(([other]) => other === name);
  const options = Object.fromEntries(
    Object.entries(given).filter(isKept),
  ) as unknown as SessionManagerOptions;
  return { given, options };
}

const isSticky = (name: string) => known.sticky.some((each) => each === name);

const lockingModes = ["optimistic", "none", "all", "auto", "app"] as const;

function resolveLocking(locking: unknown): ResolvedLocking<SessionRequest> {
  if (typeof locking === "function") {
    const locks = locking as (request: SessionRequest) => unknown;
    return { kind: "where", locks: (request) => Boolean(locks(request)) };
  }
  if (locking instanceof RegExp) {
    // With the flags g or y a pattern remembers where it matched last.
    const pattern = new RegExp(locking.source, locking.flags.replace(/[gy]/g, ""));
    return { kind: "where", locks: ({ url }) => pattern.test(pathOf(url)) };
  }
  const mode = lockingModes.find((each) => each === locking);
  if (mode === undefined) {
    throw wrong("locking", `${lockingModes.map(show).join(" or ")}, a RegExp or a function`, locking);
  }
  return { kind: mode === "all" || mode === "auto" ? mode : "never" };
}

function resolveSaves({ locking, onConflict = "last-write-wins" }: SessionManagerOptions) {
  if (locking !== "none") return "merged";
  if (onConflict !== "last-write-wins") throw needs('locking "none"', 'onConflict "last-write-wins"');
  return "whole";
}

function resolveLease(options: SessionManagerOptions) {
  const leaseTtlMs = milliseconds("leaseTtlMs", options.leaseTtlMs ?? 3000);
  const maxLeaseMs = milliseconds("maxLeaseMs", options.maxLeaseMs ?? Math.max(30_000, leaseTtlMs));
  if (maxLeaseMs < leaseTtlMs) throw needs(`leaseTtlMs ${leaseTtlMs}`, "a maxLeaseMs that is no less");
  return { leaseTtlMs, maxLeaseMs };
}

function resolveSticky(options: SessionManagerOptions & { mode: "sticky" }): ResolvedStickyOptions {
  return Object.freeze({
    kind: "sticky",
    route: matching(
      "route",
      options.route,
      /^[\w-]{1,32}$/,
      "1 to 32 of A-Z a-z 0-9 _ -, the name by which the balancer knows this process",
    ),
    backup: oneOf("backup", options.backup ?? inProcessDefaults.backup, ["sync", "async"]),
    backupTimeoutMs: milliseconds(
      "backupTimeoutMs",
      options.backupTimeoutMs ?? inProcessDefaults.backupTimeoutMs,
    ),
    maxBackupLagMs: milliseconds(
      "maxBackupLagMs",
      options.maxBackupLagMs ?? inProcessDefaults.maxBackupLagMs,
    ),
    maxLocalSessions: atLeast(
      "maxLocalSessions",
      options.maxLocalSessions ?? inProcessDefaults.maxLocalSessions,
      1,
    ),
  });
}

function resolveSecrets(secret: string | readonly string[]): readonly string[] {
  const secrets = typeof secret === "string" ? [secret] : secret;
  if (!Array.isArray(secrets) || secrets.length === 0) {
    throw new MsmError(
      "MSM_ERR_OPTION",
      "secret must be a text of at least 32 bytes, or a list of them; got none",
    );
  }
  for (const one of secrets) {
    // What it got is not said: messages end up in logs.
    if (typeof one !== "string" || Buffer.byteLength(one) < leastSecretBytes) {
      throw new MsmError(
        "MSM_ERR_OPTION",
        `each secret must be a text of at least ${leastSecretBytes} bytes; make one with: node -p "crypto.randomBytes(32).toString('hex')"`,
      );
    }
  }
  return [...secrets];
}

function resolveCookie(options: CookieOptions): ResolvedCookieOptions {
  if (typeof options !== "object" || options === null) throw wrong("cookie", "an object", options);
  checkNames("cookie.", options, known.cookie, "cookie");
  const cookie: ResolvedCookieOptions = {
    name: options.name ?? "sid",
    path: options.path ?? "/",
    domain: options.domain,
    httpOnly: bool("cookie.httpOnly", options.httpOnly ?? true),
    secure: resolveSecure(options.secure ?? "auto"),
    sameSite: oneOf("cookie.sameSite", options.sameSite ?? "lax", ["strict", "lax", "none", false]),
    maxAgeMs: optional(options.maxAgeMs, (value) => milliseconds("cookie.maxAgeMs", value)),
    partitioned: bool("cookie.partitioned", options.partitioned ?? false),
    priority: optional(options.priority, (value) =>
      oneOf("cookie.priority", value, ["low", "medium", "high"]),
    ),
  };
  checkCookie(cookie);
  return Object.freeze(cookie);
}

function resolveSecure(secure: unknown): boolean | "auto" {
  return secure === "auto" ? "auto" : bool("cookie.secure", secure, 'true, false or "auto"');
}

/** What browsers would refuse is refused here, where somebody reads the message. */
function checkCookie({ name, path, domain, secure, sameSite, partitioned }: ResolvedCookieOptions): void {
  try {
    serialize(name, "v", { path, ...(domain === undefined ? {} : { domain }) });
  } catch (error) {
    const got = show({ name, path, domain });
    throw new MsmError(
      "MSM_ERR_OPTION",
      `cookie.name, path and domain must be as RFC 6265 has them, got ${got}`,
      { cause: error },
    );
  }
  const isPrefixed = name.startsWith("__Host-") || name.startsWith("__Secure-");
  if (isPrefixed && secure !== true) throw needs(`cookie.name "${name}"`, "cookie.secure: true");
  if (name.startsWith("__Host-") && (path !== "/" || domain !== undefined)) {
    throw needs(`cookie.name "${name}"`, 'cookie.path: "/" and no cookie.domain');
  }
  if (sameSite === "none" && secure === false) throw needs('cookie.sameSite "none"', "cookie.secure: true");
  if (partitioned && secure === false) throw needs("cookie.partitioned", "cookie.secure: true");
}

function resolveCodec(codec: "json" | Codec): Codec {
  if (codec === "json") return jsonCodec;
  const isCodec =
    typeof codec === "object" && typeof codec.encode === "function" && typeof codec.decode === "function";
  if (!isCodec || !/^[a-z0-9]{1,8}$/.test(codec.name)) {
    throw wrong(
      "codec",
      '"json", or an object with encode(), decode() and a name of 1 to 8 of a-z 0-9',
      codec,
    );
  }
  return codec;
}

function checkNames(prefix: string, options: object, names: readonly string[], where: string): void {
  for (const name of Object.keys(options)) {
    if (names.includes(name)) continue;
    const known = names.map((each) => prefix + each).join(", ");
    throw new MsmError(
      "MSM_ERR_OPTION",
      `there is no option ${prefix}${name} (${where}); there are ${known}`,
    );
  }
}

const optional = <T, R>(value: T | undefined, check: (value: T) => R) =>
  value === undefined ? undefined : check(value);

function oneOf<const T>(name: string, value: unknown, choices: readonly T[]): T {
  const choice = choices.find((each) => each === value);
  if (choice === undefined) throw wrong(name, choices.map(show).join(" or "), value);
  return choice;
}

function bool(name: string, value: unknown, wanted = "true or false"): boolean {
  if (typeof value !== "boolean") throw wrong(name, wanted, value);
  return value;
}

function matching(name: string, value: unknown, pattern: RegExp, wanted: string): string {
  if (typeof value !== "string" || !pattern.test(value)) throw wrong(name, wanted, value);
  return value;
}

function atLeast(name: string, value: unknown, least: number): number {
  if (!Number.isInteger(value) || (value as number) < least)
    throw wrong(name, `a whole number of at least ${least}`, value);
  return value as number;
}

const wrong = (name: string, wanted: string, got: unknown) =>
  new MsmError("MSM_ERR_OPTION", `${name} must be ${wanted}, got ${show(got)}`);
const needs = (what: string, needed: string) => new MsmError("MSM_ERR_OPTION", `${what} needs ${needed}`);

function show(value: unknown): string {
  if (typeof value === "function") return "a function";
  return typeof value === "string" || typeof value === "object"
    ? (JSON.stringify(value) ?? "nothing")
    : String(value);
}
