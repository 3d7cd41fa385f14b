import type { CipherKey } from "node:crypto";
import { MsmError } from "@msm/core";
import type { Request } from "express";
import { type CookieOptions, type GivenCookie, givenCookie } from "./cookie-options.js";
import { type AnyRequest, propertyOf, type SecurityOf, securityBy } from "./request-facts.js";

/** The options of express-session, whichever way sessions are stored. */
export interface CompatOptions {
  /**
   * Signs the session cookie. A list rotates: the first signs, all verify. Required; with `compat: 1`, cookie-parser's
   * `req.secret` may stand in its place where it is asked for the cookie's signature only.
   */
  readonly secret?: CipherKey | readonly CipherKey[] | undefined;
  /** The cookie's name. Default "sid"; with `compat: 1`, or `store`, "connect.sid". */
  readonly name?: string | undefined;
  /** The older name of `name`. */
  readonly key?: string | undefined;
  /** The cookie's attributes, or what gives them for a request. */
  readonly cookie?: CookieOptions | ((req: Request) => CookieOptions) | undefined;
  /** Makes the id of a new session. Default: 24 random bytes. */
  readonly genid?: ((req: Request) => string) | undefined;
  /**
   * Which requests count as secure beside those with TLS. True: those whose first X-Forwarded-Proto is "https"; false:
   * none; undefined: those that Express says are, by its `trust proxy`. Default undefined.
   */
  readonly proxy?: boolean | undefined;
  /** Whether an unchanged session is stored again. Default false; with `compat: 1`, true. */
  readonly resave?: boolean | undefined;
  /** Whether the cookie is sent with each response. Default false: where it is new, and where one that lasts was used. */
  readonly rolling?: boolean | undefined;
  /** Whether a new session is stored and announced though nothing was put into it. Default false; with `compat: 1`, true. */
  readonly saveUninitialized?: boolean | undefined;
  /** What `req.session = null` and `delete req.session` do to what is stored. Default "keep". */
  readonly unset?: "destroy" | "keep" | undefined;
  /** 1: what is left out is as in express-session 1, with its warnings. Default: as in its version 2. */
  readonly compat?: 1 | undefined;
}

/** The options of express-session, checked, with every default filled in that is the same for all ways to store. */
export interface ResolvedCompatOptions {
  /** Undefined where none is given. */
  readonly name: string | undefined;
  /** Empty only where `req.secret` is to be asked. */
  readonly secrets: readonly CipherKey[];
  /** Undefined where none is given. */
  readonly genid: ((req: Request) => string) | undefined;
  readonly resave: boolean;
  readonly rolling: boolean;
  readonly saveUninitialized: boolean;
  readonly unset: "destroy" | "keep";
  /** Whether what is left out is as in express-session 1. */
  readonly isVersion1: boolean;
  /** The cookie's options where they are the same for all requests. */
  readonly cookie: GivenCookie | undefined;
  /** The cookie's options for one request. Throws what the application's function throws, and MSM_ERR_OPTION. */
  readonly cookieFor: (req: AnyRequest) => GivenCookie;
  /** Whether a request counts as secure, by the option `proxy`. */
  readonly isSecure: SecurityOf;
}

/** express-session's names for these options. */
export const compatOptionNames = [
  ...["secret", "name", "key", "cookie", "genid", "proxy", "resave", "rolling", "saveUninitialized"],
  ...["unset", "compat"],
] as const;

/**
 * Checks the options that are express-session's. Others are not looked at.
 * @param asksForSecret whether cookies are signed with it, so that there must be one
 * @throws MsmError MSM_ERR_OPTION; TypeError, with express-session's words, where express-session throws one
 */
export function resolveCompatOptions(options: CompatOptions, asksForSecret = true): ResolvedCompatOptions {
  if (typeof options !== "object" || options === null) {
    throw wrong(`options must be an object, got ${String(options)}`);
  }
  const { compat, genid, unset, proxy } = options;
  if (compat !== undefined && compat !== 1)
    throw wrong(`compat must be 1 or left out, got ${String(compat)}`);
  const isVersion1 = compat === 1;
  if (genid && typeof genid !== "function") throw new TypeError("genid option must be a function");
  if (unset && unset !== "destroy" && unset !== "keep") {
    throw new TypeError('unset option must be "destroy" or "keep"');
  }
  const bool = (name: BooleanName, byDefault: boolean) =>
    booleanOption(name, options[name], byDefault, isVersion1);
  return Object.freeze({
    name: resolveName(options),
    secrets: resolveSecrets(options.secret, asksForSecret, isVersion1),
    genid: genid || undefined,
    resave: bool("resave", isVersion1),
    rolling: bool("rolling", false),
    saveUninitialized: bool("saveUninitialized", isVersion1),
    unset: unset || "keep",
    isVersion1,
    ...resolveCookie(options.cookie ?? {}, isVersion1),
    isSecure: securityBy(proxy === undefined ? undefined : bool("proxy", false)),
  });
}

/** The secrets that sign and verify a request's cookie. @throws Error, with express-session's words, where there is none */
export function secretsFor({ secrets }: ResolvedCompatOptions, req: AnyRequest): readonly CipherKey[] {
  if (secrets.length > 0) return secrets;
  const secret = propertyOf(req, "secret") as CipherKey | undefined;
  if (!secret) throw new Error(noSecret);
  return [secret];
}

const noSecret = "secret option required for sessions";

function resolveSecrets(
  secret: CompatOptions["secret"],
  asksForSecret: boolean,
  isVersion1: boolean,
): readonly CipherKey[] {
  if (Array.isArray(secret) && secret.length === 0) {
    throw new TypeError("secret option array must contain one or more strings");
  }
  if (secret) return [secret].flat() as readonly CipherKey[];
  if (!asksForSecret) return [];
  if (!isVersion1) throw new TypeError(noSecret);
  warnOfDeprecation("req.secret; provide secret option", "MSM_DEP_REQ_SECRET");
  return [];
}

type BooleanName = "proxy" | "resave" | "rolling" | "saveUninitialized";

/** express-session takes what is truthy for true, and warns where version 2 has another default. */
function booleanOption(name: BooleanName, value: unknown, byDefault: boolean, isVersion1: boolean): boolean {
  if (value === undefined) {
    if (byDefault) warnOfDeprecation(`undefined ${name} option; provide ${name} option`, deprecations[name]);
    return byDefault;
  }
  if (typeof value !== "boolean" && !isVersion1) {
    throw wrong(`${name} must be true or false, got ${JSON.stringify(value)}`);
  }
  return Boolean(value);
}

const deprecations: Partial<Record<BooleanName, string>> = {
  resave: "MSM_DEP_UNDEFINED_RESAVE",
  saveUninitialized: "MSM_DEP_UNDEFINED_SAVE_UNINITIALIZED",
};

function warnOfDeprecation(message: string, code: string | undefined): void {
  process.emitWarning(message, { type: "DeprecationWarning", ...(code === undefined ? {} : { code }) });
}

function resolveName({ name, key, cookie }: CompatOptions): string | undefined {
  const nameInCookie = typeof cookie === "object" ? cookie.name : undefined;
  const given = name || key || nameInCookie;
  if (given !== undefined && typeof given !== "string") {
    throw wrong(`name must be a text, got ${JSON.stringify(given)}`);
  }
  if (nameInCookie !== undefined && nameInCookie !== given) {
    throw wrong(`name and cookie.name say the same, got ${JSON.stringify([given, nameInCookie])}`);
  }
  return given;
}

function resolveCookie(
  cookie: NonNullable<CompatOptions["cookie"]>,
  isVersion1: boolean,
): Pick<ResolvedCompatOptions, "cookie" | "cookieFor"> {
  if (typeof cookie === "function") {
    return { cookie: undefined, cookieFor: (req) => givenCookie(cookie(req as Request), isVersion1) };
  }
  const given = givenCookie(cookie, isVersion1);
  return { cookie: given, cookieFor: () => given };
}

const wrong = (message: string) => new MsmError("MSM_ERR_OPTION", message);
