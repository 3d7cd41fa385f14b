import {
  createSessionManager,
  MsmError,
  type SessionManager,
  type SessionManagerOptions,
  type SessionRequest,
  type SessionTokens,
} from "@msm/core";
import { type AdoptedRequest, adoptPrevious } from "@msm/core/node";
import {
  type CompatOptions,
  compatOptionNames,
  type ResolvedCompatOptions,
  resolveCompatOptions,
  secretsFor,
} from "./compat-options.js";
import { coreCookie, fromCoreCookie, type GivenCookie, idleTimeoutMsOf } from "./cookie-options.js";
import { coreSecrets } from "./core-secrets.js";
import { formerSessions, type PreviousOptions } from "./previous-store.js";
import type { AnyRequest } from "./request-facts.js";
import type { RequestRules } from "./request-session.js";
import { noRoute, signedTokens } from "./signed-tokens.js";
import { toStore } from "./store/to-store.js";

/** What stands in the session cookie, where sessions are on msm's nodes. */
export interface CookieFormat {
  /**
   * "msm": the id, the node that holds the session, a signature, and in sticky mode the route for the load balancer.
   * "express-session": `s:<id>.<signature>`, for what reads express-session's cookie; not with `mode: "sticky"`.
   * Default "msm"; with `compat: 1`, "express-session", but for sticky mode.
   */
  readonly cookieFormat?: "msm" | "express-session" | undefined;
}

/** What sessions on msm's nodes have beside the options of express-session, whoever makes the manager. */
export interface NodesExtras extends CookieFormat {
  /**
   * Whether a cookie that lasts is sent again once less than half of its age is left, so that its session does not end
   * under a user who only reads. Costs a save each time; `rolling` sends it with every response. Default false.
   */
  readonly renew?: boolean | undefined;
  /**
   * The store of express-session that the site's sessions are in now: clients go on with them, and each is moved to the
   * nodes by its next request. Its cookie needs another name than this one's, or `cookieFormat: "msm"`.
   */
  readonly previous?: PreviousOptions | undefined;
}

type CoreOptions = SessionManagerOptions extends infer Options ? Omit<Options, "secret" | "cookie"> : never;

/** Sessions on msm's nodes: the options of `createSessionManager()` and those of express-session. */
export type NodesOptions = CoreOptions & CompatOptions & NodesExtras;

/** A manager that the application made itself, for instance in order to share it. */
export interface ReadyManager extends CompatOptions, NodesExtras {
  readonly manager: SessionManager;
}

/** How sessions on msm's nodes are served, decided once. */
export interface NodesWay extends RequestRules {
  readonly compat: ResolvedCompatOptions;
  /** The cookie's options for one request, with their defaults. */
  readonly cookieFor: (req: AnyRequest) => GivenCookie;
  /** Whether these may be others for the session's next request. */
  readonly cookieIsOfRequest: boolean;
  /** Whether a session lives as long as the cookie that it begins with, as with express-session's stores. */
  readonly ageIsIdleTimeout: boolean;
  /** How a request carries its session; undefined: in msm's cookie. */
  readonly tokensFor: (req: AnyRequest) => SessionTokens | undefined;
  /** What is opened for a request: it may go on with a former session. Undefined where there are none: what came. */
  readonly adopt: ((request: SessionRequest) => AdoptedRequest | Promise<AdoptedRequest>) | undefined;
  /** What tells a browser to forget the cookie of its former session; undefined where there is none to forget. */
  readonly clearFormerCookie: string | undefined;
}

/** Checks the options and starts a manager, where none is given. @throws as `session()` */
export function resolveNodesOptions(options: NodesOptions | ReadyManager): NodesWay {
  const hasManager = typeof options === "object" && options !== null && "manager" in options;
  return hasManager ? withReadyManager(options) : withOwnManager(options);
}

function withOwnManager(options: NodesOptions): NodesWay {
  const compat = resolveCompatOptions(options);
  if (compat.secrets.length === 0) {
    throw new TypeError(
      "secret option required for sessions: it seals what is stored, so req.secret is too late",
    );
  }
  const format = formatOf(options, compat.isVersion1 && options.mode !== "sticky");
  if (format === "express-session" && options.mode === "sticky") throw wrong(noRoute);
  const cookieName = compat.name ?? (compat.isVersion1 ? "connect.sid" : "sid");
  const defaults = compat.isVersion1 ? {} : safeDefaults;
  // With `compat: 1`, what express-session accepts is not refused for what browsers make of it.
  const checked = compat.cookie === undefined ? {} : { ...defaults, ...compat.cookie };
  const known = compat.isVersion1 ? ageOf(checked) : checked;
  const idleTimeoutMs = options.idleTimeoutMs ?? idleTimeoutMsOf(ageOf(checked));
  const manager = createSessionManager({
    ...coreOptions(options),
    ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
    secret: coreSecrets(compat.secrets, compat.isVersion1),
    cookie: { ...coreCookie(known), name: cookieName },
  } as SessionManagerOptions);
  // Where the manager has it, sessions need none of their own.
  const ageIsIdleTimeout = idleTimeoutMs === undefined;
  return wayOf({ compat, manager, cookieName, format, defaults, ageIsIdleTimeout }, options);
}

function withReadyManager(options: ReadyManager): NodesWay {
  const { manager } = options;
  const format = formatOf(options, options.compat === 1 && options.secret !== undefined);
  const compat = resolveCompatOptions(options, format === "express-session");
  checkNames(options);
  if (format === "msm" && compat.name !== undefined && compat.name !== manager.cookie.name) {
    throw wrong(`name must be that of the manager's cookie, "${manager.cookie.name}", got "${compat.name}"`);
  }
  const cookieName = compat.name ?? manager.cookie.name;
  const defaults = fromCoreCookie(manager.cookie);
  // An age of the manager's own cookie says nothing of its idle timeout; one that is given here does.
  const ageIsIdleTimeout = compat.cookie === undefined || idleTimeoutMsOf(compat.cookie) !== undefined;
  return wayOf({ compat, manager, cookieName, format, defaults, ageIsIdleTimeout }, options);
}

/** What both kinds of options come to. */
interface Basis extends Pick<NodesWay, "compat" | "manager" | "cookieName" | "ageIsIdleTimeout"> {
  readonly format: "msm" | "express-session";
  /** The cookie's options where the application says nothing. */
  readonly defaults: GivenCookie;
}

function wayOf(basis: Basis, { previous, renew = false }: NodesExtras): NodesWay {
  if (typeof renew !== "boolean") throw wrong(`renew must be true or false, got ${JSON.stringify(renew)}`);
  const { compat, manager, cookieName, format, defaults, ageIsIdleTimeout } = basis;
  const { rolling, saveUninitialized, unset, cookie } = compat;
  const shared = cookie === undefined ? undefined : Object.freeze({ ...defaults, ...cookie });
  return {
    compat,
    manager,
    cookieName,
    rolling,
    renew,
    saveUninitialized,
    unset,
    sessionStore: toStore(manager),
    ageIsIdleTimeout,
    cookieFor: (req) => shared ?? { ...defaults, ...compat.cookieFor(req) },
    cookieIsOfRequest: shared === undefined,
    tokensFor:
      format === "msm" ? () => undefined : (req) => signedTokens(req, cookieName, secretsFor(compat, req)),
    ...(previous === undefined ? adoptNothing : adoptFrom(previous, basis)),
  };
}

const adoptNothing: Pick<NodesWay, "adopt" | "clearFormerCookie"> = {
  adopt: undefined,
  clearFormerCookie: undefined,
};

function adoptFrom(
  previous: PreviousOptions,
  { compat, manager, cookieName, format }: Basis,
): typeof adoptNothing {
  const former = formerSessions(previous, compat.secrets);
  const isReplaced = former.cookieName === cookieName;
  if (isReplaced && format === "express-session") {
    throw wrong(
      `with previous, the cookie "${cookieName}" needs another name, or cookieFormat "msm": it could not be told from the former one`,
    );
  }
  return {
    adopt: adoptPrevious(manager, former),
    clearFormerCookie: isReplaced ? undefined : former.clearingHeader,
  };
}

/** Safer than express-session's, and what browsers take for given anyway. */
const safeDefaults: GivenCookie = { secure: "auto", sameSite: "lax" };

const ageOf = ({ maxAge }: GivenCookie): GivenCookie => (maxAge === undefined ? {} : { maxAge });

function formatOf({ cookieFormat }: CookieFormat, isOldByDefault: boolean): "msm" | "express-session" {
  if (cookieFormat === undefined) return isOldByDefault ? "express-session" : "msm";
  if (cookieFormat === "msm" || cookieFormat === "express-session") return cookieFormat;
  throw wrong(`cookieFormat must be "msm" or "express-session", got ${JSON.stringify(cookieFormat)}`);
}

const ownNames: readonly string[] = [...compatOptionNames, "cookieFormat", "renew", "previous"];

function coreOptions(options: NodesOptions): object {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !ownNames.includes(name)));
}

function checkNames(options: ReadyManager): void {
  const unknown = Object.keys(options).find((name) => name !== "manager" && !ownNames.includes(name));
  if (unknown !== undefined)
    throw wrong(`with a manager, there is no option ${unknown}; there are ${ownNames.join(", ")}`);
}

const wrong = (message: string) => new MsmError("MSM_ERR_OPTION", message);
