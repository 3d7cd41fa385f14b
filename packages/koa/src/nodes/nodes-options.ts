import {
  type CookieOptions,
  createSessionManager,
  type SessionManager,
  type SessionManagerOptions,
} from "@msm/core";
import { type Behaviour, behaviourNames, resolveBehaviour, resolveMaxAge } from "../behaviour.js";
import { booleanOption, misplacedOption, wrongOption } from "../check.js";
import type { KoaCookieOptions, NodesOptions, OwnManagerOptions, ReadyManagerOptions } from "../options.js";
import { secretsOf } from "./app-keys.js";
import { type FormerSessions, formerSessions } from "./previous.js";

/** What the options say of sessions on nodes. */
export interface ResolvedNodes {
  readonly manager: SessionManager;
  readonly behaviour: Behaviour;
  /** What koa-session left behind; undefined where clients have nothing of it. */
  readonly former: FormerSessions | undefined;
  /** What `ctx.sessionOptions` shows, beside `maxAge`. */
  readonly shown: Readonly<Record<string, unknown>>;
}

/** What a browser-session of koa-session lives for: a day. */
const oneDayMs = 24 * 60 * 60 * 1000;

/**
 * Translates koa-session's options into msm's, and makes the manager where none is given.
 * @param keys the application's
 * @throws MsmError MSM_ERR_OPTION
 */
export function resolveNodes(options: NodesOptions, keys: unknown): ResolvedNodes {
  return options.manager === undefined ? ownManager(options, keys) : readyManager(options, keys);
}

function readyManager(options: ReadyManagerOptions, keys: unknown): ResolvedNodes {
  const { manager } = options;
  const known: readonly string[] = ["manager", "previous", ...behaviourNames];
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !known.includes(name))
      throw misplacedOption(name, value, "the manager has its options, give it to createSessionManager()");
  }
  const behaviour = resolveBehaviour(options, manager.cookie.maxAgeMs);
  const former = formerOf(options, keys, behaviour);
  return { manager, behaviour, former, shown: { key: manager.cookie.name, ...flagsOf(behaviour) } };
}

function ownManager(options: OwnManagerOptions, keys: unknown): ResolvedNodes {
  refuseCookieSessions(options);
  const maxAge = resolveMaxAge(options);
  const behaviour = resolveBehaviour(options, maxAge ?? options.cookie?.maxAgeMs);
  const cookie = cookieOptionsOf(options, maxAge);
  const former = formerOf(options, keys, behaviour);
  const lifeMs = typeof behaviour.maxAge === "number" ? behaviour.maxAge : oneDayMs;
  const manager = createSessionManager({
    idleTimeoutMs: lifeMs,
    ...managerOptionsOf(options),
    secret: options.secret ?? secretsOf(keys),
    cookie,
  } as SessionManagerOptions);
  return { manager, behaviour, former, shown: { key: cookie.name, ...flagsOf(behaviour) } };
}

function formerOf({ previous }: NodesOptions, keys: unknown, { maxAge }: Behaviour) {
  return previous === undefined ? undefined : formerSessions(previous, keys, maxAge);
}

const flagsOf = ({ autoCommit, rolling, renew }: Behaviour) => ({ autoCommit, rolling, renew });

/** Options of koa-session that have a place in msm's `cookie`, and how it gets there. */
const cookieNames = ["key", "maxAge", "maxage", "httpOnly", "secure", "sameSite", "path", "domain"] as const;
const samenamed = ["httpOnly", "secure", "path", "domain", "priority", "partitioned"] as const;
const otherNames = ["overwrite", "signed", "priority", "partitioned"] as const;

/** What msm's manager takes: all but what koa-session's options are for. */
function managerOptionsOf(options: OwnManagerOptions): Partial<SessionManagerOptions> {
  const koaNames: readonly string[] = [...behaviourNames, ...cookieNames, ...otherNames, "previous"];
  const isManagers = ([name, value]: [string, unknown]) => value !== undefined && !koaNames.includes(name);
  return Object.fromEntries(Object.entries(options).filter(isManagers));
}

function cookieOptionsOf(options: OwnManagerOptions, maxAge: number | "session" | undefined): CookieOptions {
  const { cookie, key, sameSite } = options;
  if (cookie !== undefined) {
    const twice = [...cookieNames, "priority", "partitioned"].find((name) => Reflect.has(options, name));
    if (twice !== undefined)
      throw misplacedOption(
        twice,
        Reflect.get(options, twice),
        "give it within `cookie`, or leave `cookie` out",
      );
    return { name: "koa.sess", ...cookie };
  }
  // It is what msm always does, so both are accepted where they ask for that.
  booleanOption("overwrite", options.overwrite, true);
  const given = samenamed.filter((name) => options[name] !== undefined && options[name] !== null);
  return {
    name: key ?? "koa.sess",
    ...Object.fromEntries(given.map((name) => [name, options[name]])),
    ...(sameSite === undefined || sameSite === null ? {} : { sameSite: sameSiteOf(sameSite) }),
    ...(typeof maxAge === "number" ? { maxAgeMs: maxAge } : {}),
  };
}

function sameSiteOf(sameSite: NonNullable<KoaCookieOptions["sameSite"]>): "strict" | "lax" | "none" | false {
  if (typeof sameSite === "boolean") return sameSite && "strict";
  const lowerCase = String(sameSite).toLowerCase();
  const found = (["strict", "lax", "none"] as const).find((each) => each === lowerCase);
  if (found === undefined) throw wrongOption("sameSite", '"strict", "lax", "none", true or false', sameSite);
  return found;
}

/** What only makes sense where the session itself is in the cookie, or where koa signs it. */
function refuseCookieSessions(options: object): void {
  const remedies = {
    encode: "sessions are not kept in the cookie, but on nodes, in a codec's bytes: see `codec`",
    decode: "sessions are not kept in the cookie, but on nodes, in a codec's bytes: see `codec`",
    expires: "a cookie has an age: see `maxAge`, and `absoluteTimeoutMs` for sessions",
    secureProxy: "give `secure: true`, and set app.proxy behind a proxy",
  };
  for (const [name, why] of Object.entries(remedies)) {
    const value: unknown = Reflect.get(options, name);
    if (value !== undefined) throw misplacedOption(name, value, why);
  }
  if (Reflect.get(options, "signed") === false) {
    throw misplacedOption(
      "signed",
      false,
      "msm's cookie is always signed; leave it out, and give a `secret`",
    );
  }
}
